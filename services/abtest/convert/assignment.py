"""Assignments on the wire."""

from collections.abc import Sequence
from typing import Final

from gen.campaigns.abtest.v1 import assignments_pb2 as pb
from services.abtest.convert.violations import Violations
from services.abtest.domain.model import Assignment
from services.abtest.operations.assignment import AssignmentOutcome
from services.common.errors import invalid_field
from services.common.wire import datetime_to_timestamp

LARGEST_BATCH: Final = 1000


def assignment_key_from_proto(request: pb.AssignUserRequest | pb.GetUserTestGroupRequest) -> tuple[str, str]:
    """Return the test_id and the user_id of a request."""
    violations = Violations()
    violations.check_id(request.test_id, "test_id")
    violations.check_id(request.user_id, "user_id")
    violations.raise_any()
    return request.test_id, request.user_id


def batch_from_proto(request: pb.AssignUsersRequest) -> tuple[str, list[str]]:
    """Return the test_id and the users of a batch; a user may stand there twice."""
    if not request.user_ids:
        raise invalid_field("user_ids", "must hold at least one user", "FIELD_REQUIRED")
    if len(request.user_ids) > LARGEST_BATCH:
        raise invalid_field("user_ids", f"must hold at most {LARGEST_BATCH} users", "BATCH_TOO_LARGE")
    violations = Violations()
    violations.check_id(request.test_id, "test_id")
    for index, user_id in enumerate(request.user_ids):
        violations.check_id(user_id, f"user_ids[{index}]")
    violations.raise_any()
    return request.test_id, list(request.user_ids)


def assigned_user_to_proto(
    request: pb.AssignUserRequest, outcome: AssignmentOutcome
) -> pb.AssignUserResponse:
    """Return a user's group, or the reason why there is none."""
    response = pb.AssignUserResponse(test_id=request.test_id, user_id=request.user_id, reason=outcome.reason)
    if outcome.assignment is not None:
        _fill(response, outcome.assignment)
    return response


def assigned_users_to_proto(
    request: pb.AssignUsersRequest, outcomes: Sequence[AssignmentOutcome]
) -> pb.AssignUsersResponse:
    """Return the users' groups, or the reasons why there is none, in the request's order."""
    response = pb.AssignUsersResponse(test_id=request.test_id)
    for user_id, outcome in zip(request.user_ids, outcomes, strict=True):
        message = response.assignments.add(user_id=user_id, reason=outcome.reason)
        if outcome.assignment is not None:
            _fill(message, outcome.assignment)
    return response


def user_group_to_proto(
    request: pb.GetUserTestGroupRequest, assignment: Assignment | None
) -> pb.GetUserTestGroupResponse:
    """Return the group that a user has."""
    response = pb.GetUserTestGroupResponse(test_id=request.test_id, user_id=request.user_id)
    if assignment is not None:
        _fill(response, assignment)
    return response


def _fill(
    message: pb.AssignUserResponse | pb.UserAssignment | pb.GetUserTestGroupResponse, assignment: Assignment
) -> None:
    message.assigned_group = assignment.group.name
    message.campaign_id = assignment.group.campaign_id
    message.propensity = assignment.propensity
    message.weight_epoch = assignment.epoch
    message.assigned_time.CopyFrom(datetime_to_timestamp(assignment.assigned_at))
