"""A service whose clock tests move, and the steps of a test's life."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from gen.campaigns.abtest.v1 import (
    results_pb2,
    tests_pb2,
)
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from tests.abtest_factories import a_test

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


async def create(stub: ABTestServiceStub, **fields: Any) -> str:  # noqa: ANN401 (a request's fields)
    return (await stub.CreateTest(a_test(**fields))).test_id


Step = Callable[[ABTestServiceStub, str], Any]
STEPS: dict[str, Step] = {
    "start": lambda stub, test_id: stub.StartTest(tests_pb2.StartTestRequest(test_id=test_id)),
    "pause": lambda stub, test_id: stub.PauseTest(tests_pb2.PauseTestRequest(test_id=test_id)),
    "resume": lambda stub, test_id: stub.ResumeTest(tests_pb2.ResumeTestRequest(test_id=test_id)),
    "end": lambda stub, test_id: stub.EndTest(results_pb2.EndTestRequest(test_id=test_id)),
    "archive": lambda stub, test_id: stub.ArchiveTest(tests_pb2.ArchiveTestRequest(test_id=test_id)),
    "update": lambda stub, test_id: stub.UpdateTest(
        tests_pb2.UpdateTestRequest(test_id=test_id, coverage=0.5)
    ),
    "analyze": lambda stub, test_id: stub.AnalyzeTest(results_pb2.AnalyzeTestRequest(test_id=test_id)),
}
