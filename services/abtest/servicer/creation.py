"""The methods that create and change tests."""

from gen.campaigns.abtest.v1 import audit_pb2
from gen.campaigns.abtest.v1 import tests_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceServicer
from services.abtest.convert import changes as convert_changes
from services.abtest.convert.creation import new_test_from_proto
from services.abtest.convert.definition import (
    created_test_to_proto,
    defined_test_to_proto,
    history_of_test_to_proto,
)
from services.abtest.convert.violations import checked_test_id
from services.abtest.operations.changes import ChangeOperations
from services.abtest.operations.creation import CreationOperations
from services.abtest.servicer.context import Context


class CreationMethods(ABTestServiceServicer):
    """How tests come to be, and what changes of them."""

    creation: CreationOperations
    changes: ChangeOperations

    async def CreateTest(self, request: pb.CreateTestRequest, context: Context) -> pb.CreateTestResponse:
        """Create a test."""
        return created_test_to_proto(await self.creation.create_test(new_test_from_proto(request)))

    async def GetTest(self, request: pb.GetTestRequest, context: Context) -> pb.GetTestResponse:
        """Return a test as it is defined now."""
        test_id = checked_test_id(request.test_id)
        return history_of_test_to_proto(await self.changes.fetch_test(test_id))

    async def UpdateTest(self, request: pb.UpdateTestRequest, context: Context) -> pb.UpdateTestResponse:
        """Change a test."""
        test_id, note = convert_changes.noted_from_proto(request)
        changed = await self.changes.update_test(test_id, convert_changes.change_from_proto(request), note)
        return pb.UpdateTestResponse(test=defined_test_to_proto(changed))

    async def ListTestChanges(
        self, request: audit_pb2.ListTestChangesRequest, context: Context
    ) -> audit_pb2.ListTestChangesResponse:
        """List what was changed of a test."""
        test_id, before, limit = convert_changes.log_page_from_proto(request)
        changes, next_before = await self.changes.list_changes(test_id, before=before, limit=limit)
        return convert_changes.log_page_to_proto(test_id, changes, next_before)
