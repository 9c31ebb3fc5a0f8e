"""What the log of a test says, and why a user is in no group of it."""

import json

from gen.campaigns.abtest.v1 import (
    assignments_pb2,
    audit_pb2,
)
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub


async def reason_for(stub: ABTestServiceStub, test_id: str, user_id: str = "u") -> str:
    request = assignments_pb2.AssignUserRequest(test_id=test_id, user_id=user_id)
    return (await stub.AssignUser(request)).reason


async def changes_of(stub: ABTestServiceStub, test_id: str) -> list[audit_pb2.TestChange]:
    """Return the whole log, the oldest change first."""
    answer = await stub.ListTestChanges(audit_pb2.ListTestChangesRequest(test_id=test_id))
    return list(reversed(answer.changes))


def differences(change: audit_pb2.TestChange) -> dict[str, tuple[object, object]]:
    return {
        each.field: (
            json.loads(each.before) if each.HasField("before") else None,
            json.loads(each.after) if each.HasField("after") else None,
        )
        for each in change.differences
    }
