"""The methods of assignments."""

from gen.campaigns.abtest.v1 import assignments_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceServicer
from services.abtest.convert import assignment as convert
from services.abtest.operations.assignment import AssignmentOperations, AssignmentOutcome
from services.abtest.servicer.context import Context
from services.common.batching import Batcher


class AssignmentMethods(ABTestServiceServicer):
    """Who gets which group; `group_commit` commits concurrent assignments together."""

    assignment: AssignmentOperations
    group_commit: Batcher[tuple[str, str], AssignmentOutcome]

    async def AssignUser(self, request: pb.AssignUserRequest, context: Context) -> pb.AssignUserResponse:
        """Return a user's group, assigning it at the first call."""
        outcome = await self.group_commit.submit(convert.assignment_key_from_proto(request))
        return convert.assigned_user_to_proto(request, outcome)

    async def AssignUsers(self, request: pb.AssignUsersRequest, context: Context) -> pb.AssignUsersResponse:
        """Return the groups of many users of one test, assigning them at the first call."""
        outcomes = await self.assignment.assign_batch(*convert.batch_from_proto(request))
        return convert.assigned_users_to_proto(request, outcomes)

    async def GetUserTestGroup(
        self, request: pb.GetUserTestGroupRequest, context: Context
    ) -> pb.GetUserTestGroupResponse:
        """Return a user's group without assigning one."""
        key = convert.assignment_key_from_proto(request)
        return convert.user_group_to_proto(request, await self.assignment.fetch_assignment(*key))
