"""One method per RPC of ABTestService: from proto, operation, to proto."""

from typing import Any, TypeAlias

import grpc

from gen.campaigns.abtest.v1 import abtest_service_pb2 as pb
from gen.campaigns.abtest.v1 import abtest_service_pb2_grpc as pb_grpc
from services.abtest.convert import requests, responses
from services.abtest.group_commit import GroupCommit
from services.abtest.operations import AssignmentOutcome, TestOperations, estimate_sample_size

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # a string: it takes parameters in its stub only


class ABTestServicer(pb_grpc.ABTestServiceServicer):
    """Answers `campaigns.abtest.v1.ABTestService`.

    Args:
        operations: the use cases.
        assignments: commits concurrent assignments together.
    """

    def __init__(
        self, operations: TestOperations, assignments: GroupCommit[tuple[str, str], AssignmentOutcome]
    ) -> None:
        self._operations = operations
        self._assignments = assignments

    async def CreateTest(self, request: pb.CreateTestRequest, context: Context) -> pb.CreateTestResponse:
        """Create a test."""
        test = await self._operations.create_test(requests.new_test_from_proto(request))
        return responses.created_test_to_proto(test)

    async def AssignUser(self, request: pb.AssignUserRequest, context: Context) -> pb.AssignUserResponse:
        """Return a user's group, assigning it at the first call."""
        outcome = await self._assignments.submit(requests.assignment_key_from_proto(request))
        return responses.assigned_user_to_proto(request, outcome)

    async def GetUserTestGroup(
        self, request: pb.GetUserTestGroupRequest, context: Context
    ) -> pb.GetUserTestGroupResponse:
        """Return a user's group without assigning one."""
        key = requests.assignment_key_from_proto(request)
        return responses.user_group_to_proto(request, await self._operations.fetch_assignment(*key))

    async def GetTestStatus(
        self, request: pb.GetTestStatusRequest, context: Context
    ) -> pb.GetTestStatusResponse:
        """Return how far a test is."""
        test_id = requests.checked_test_id(request.test_id)
        return responses.progress_to_proto(await self._operations.fetch_progress(test_id))

    async def AnalyzeTest(self, request: pb.AnalyzeTestRequest, context: Context) -> pb.AnalyzeTestResponse:
        """Return what a test shows."""
        test_id = requests.checked_test_id(request.test_id)
        return responses.analysis_to_proto(*await self._operations.analyze_test(test_id))

    async def EndTest(self, request: pb.EndTestRequest, context: Context) -> pb.EndTestResponse:
        """End a test and return its final result."""
        test_id = requests.checked_test_id(request.test_id)
        return responses.ended_test_to_proto(*await self._operations.end_test(test_id))

    async def ListTestHistory(
        self, request: pb.ListTestHistoryRequest, context: Context
    ) -> pb.ListTestHistoryResponse:
        """Return a page of tests."""
        limit = requests.history_limit_from_proto(request)
        before = requests.history_start_from_proto(request)
        return responses.history_to_proto(await self._operations.list_tests(before=before, limit=limit))

    async def EstimateSampleSize(
        self, request: pb.EstimateSampleSizeRequest, context: Context
    ) -> pb.EstimateSampleSizeResponse:
        """Return how many users a test needs."""
        size = estimate_sample_size(**requests.sample_size_from_proto(request))
        return responses.sample_size_to_proto(size)
