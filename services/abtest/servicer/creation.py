"""The methods that create and change tests."""

from gen.campaigns.abtest.v1 import tests_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceServicer
from services.abtest.convert import creation as convert
from services.abtest.operations.creation import CreationOperations
from services.abtest.servicer.context import Context


class CreationMethods(ABTestServiceServicer):
    """How tests come to be."""

    creation: CreationOperations

    async def CreateTest(self, request: pb.CreateTestRequest, context: Context) -> pb.CreateTestResponse:
        """Create a test."""
        test = await self.creation.create_test(convert.new_test_from_proto(request))
        return convert.created_test_to_proto(test)
