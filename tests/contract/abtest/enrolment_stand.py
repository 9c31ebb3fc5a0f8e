"""Calls of enrolment over the wire, and what they answer."""

from collections.abc import Awaitable, Sequence
from typing import Any

import grpc

from gen.campaigns.abtest.v1 import assignments_pb2
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from tests.abtest_factories import a_test, refusal

USERS = [f"user-{number}" for number in range(60)]


async def create(abtest: ABTestServiceStub, **fields: Any) -> str:  # noqa: ANN401 (a request's fields)
    return (await abtest.CreateTest(a_test(**fields))).test_id


async def assign(
    abtest: ABTestServiceStub, test_id: str, users: Sequence[str] = USERS
) -> dict[str, assignments_pb2.UserAssignment]:
    answer = await abtest.AssignUsers(assignments_pb2.AssignUsersRequest(test_id=test_id, user_ids=users))
    assert [each.user_id for each in answer.assignments] == list(users)
    return {each.user_id: each for each in answer.assignments}


async def refused(call: Awaitable[object]) -> tuple[grpc.StatusCode, str, set[str]]:
    """Return the code, the reason and the fields of a call that fails."""
    code, reason, violations = await refusal(call)
    return code, reason, set(violations)
