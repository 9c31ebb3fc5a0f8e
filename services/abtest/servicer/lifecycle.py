"""The methods that take tests from one status to another."""

from gen.campaigns.abtest.v1 import tests_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceServicer
from services.abtest.convert.changes import noted_from_proto
from services.abtest.convert.definition import defined_test_to_proto
from services.abtest.operations.lifecycle import LifecycleOperations
from services.abtest.servicer.context import Context


class LifecycleMethods(ABTestServiceServicer):
    """Starts, pauses, resumes, archives; ends are with the results."""

    lifecycle: LifecycleOperations

    async def StartTest(self, request: pb.StartTestRequest, context: Context) -> pb.StartTestResponse:
        """Start a draft, or a scheduled test now."""
        started = await self.lifecycle.start_test(*noted_from_proto(request))
        return pb.StartTestResponse(test=defined_test_to_proto(started))

    async def PauseTest(self, request: pb.PauseTestRequest, context: Context) -> pb.PauseTestResponse:
        """Stop enrolling."""
        paused = await self.lifecycle.pause_test(*noted_from_proto(request))
        return pb.PauseTestResponse(test=defined_test_to_proto(paused))

    async def ResumeTest(self, request: pb.ResumeTestRequest, context: Context) -> pb.ResumeTestResponse:
        """Go on enrolling."""
        resumed = await self.lifecycle.resume_test(*noted_from_proto(request))
        return pb.ResumeTestResponse(test=defined_test_to_proto(resumed))

    async def ArchiveTest(self, request: pb.ArchiveTestRequest, context: Context) -> pb.ArchiveTestResponse:
        """Take a test out of the history."""
        archived = await self.lifecycle.archive_test(*noted_from_proto(request))
        return pb.ArchiveTestResponse(test=defined_test_to_proto(archived))
