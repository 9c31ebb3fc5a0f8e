"""Analyses that take long, and what goes on meanwhile."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1 import assignments_pb2, results_pb2
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from services.abtest.domain.analysis import Analysis, analyze
from services.abtest.operations import analysis as operations
from tests.abtest_factories import a_test, add_campaigns, refusal, running_server

CALLS = 12
"""More than there are connections."""


class LongAnalysis:
    """Analyses as ever, but waits to be let go in whatever thread it is called."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.go = threading.Event()

    def __call__(self, *arguments: Any, **options: Any) -> Analysis:  # noqa: ANN401 (whatever analyze takes)
        self.began.release()
        assert self.go.wait(timeout=120)
        return analyze(*arguments, **options)


@pytest.fixture
async def abtest(
    database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ABTestServiceStub]:
    """A service where `CALLS` analyses may be under way or wait."""
    monkeypatch.setattr(operations, "MOST_WAITING", CALLS - operations.ANALYSES_AT_ONCE)
    await add_campaigns(database.admin)
    async with running_server(database.abtest) as stub:
        yield stub


async def test_analyses_that_take_long_hold_up_no_assignment(
    abtest: ABTestServiceStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysing = LongAnalysis()
    monkeypatch.setattr(operations, "analyze", analysing)
    test_ids = [(await abtest.CreateTest(a_test())).test_id for _ in range(CALLS)]
    calls = [
        asyncio.ensure_future(abtest.AnalyzeTest(results_pb2.AnalyzeTestRequest(test_id=test_id)))
        for test_id in test_ids
    ]
    try:
        assert await asyncio.to_thread(analysing.began.acquire, timeout=60)
        assigned = await abtest.AssignUser(
            assignments_pb2.AssignUserRequest(test_id=test_ids[0], user_id="u"), timeout=30
        )
        assert assigned.assigned_group
        code, reason, _ = await refusal(
            abtest.AnalyzeTest(results_pb2.AnalyzeTestRequest(test_id=test_ids[0]), timeout=30)
        )
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_WAITING")
    finally:
        analysing.go.set()
    answers = await asyncio.gather(*calls)
    assert [answer.test_id for answer in answers] == test_ids
