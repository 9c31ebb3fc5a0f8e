"""Assignments on the wire."""

from gen.campaigns.abtest.v1 import assignments_pb2 as pb
from services.abtest.convert.violations import Violations
from services.abtest.domain.model import Assignment
from services.abtest.operations.assignment import AssignmentOutcome
from services.common.wire import datetime_to_timestamp


def assignment_key_from_proto(request: pb.AssignUserRequest | pb.GetUserTestGroupRequest) -> tuple[str, str]:
    """Return the test_id and the user_id of a request."""
    violations = Violations()
    violations.check_id(request.test_id, "test_id")
    violations.check_id(request.user_id, "user_id")
    violations.raise_any()
    return request.test_id, request.user_id


def assigned_user_to_proto(
    request: pb.AssignUserRequest, outcome: AssignmentOutcome
) -> pb.AssignUserResponse:
    """Return a user's group, or the reason why there is none."""
    assignment = outcome.assignment
    return pb.AssignUserResponse(
        test_id=request.test_id,
        user_id=request.user_id,
        assigned_group=assignment.group.name if assignment else None,
        campaign_id=assignment.group.campaign_id if assignment else None,
        reason=outcome.reason,
    )


def user_group_to_proto(
    request: pb.GetUserTestGroupRequest, assignment: Assignment | None
) -> pb.GetUserTestGroupResponse:
    """Return the group that a user has."""
    response = pb.GetUserTestGroupResponse(test_id=request.test_id, user_id=request.user_id)
    if assignment is not None:
        response.assigned_group = assignment.group.name
        response.campaign_id = assignment.group.campaign_id
        response.assigned_time.CopyFrom(datetime_to_timestamp(assignment.assigned_at))
    return response
