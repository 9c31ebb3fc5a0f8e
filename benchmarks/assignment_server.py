"""AssignUser in two other ways, for comparison: `hash` keeps nothing, `row` commits every request by itself.

Both are the service's own server, interceptors, conversions and placement; only what AssignUser waits for is
another. `python -m benchmarks.assignment_server hash|row` takes the settings of the service, and TEST_ID.
"""

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from gen.campaigns.abtest.v1 import abtest_service_pb2_grpc as pb_grpc
from services.abtest.domain.model import Assignment
from services.abtest.operations.assignment import AssignmentOperations, AssignmentOutcome, place
from services.abtest.server import SERVICE_NAME
from services.abtest.servicer.assignment import AssignmentMethods
from services.abtest.settings import AbtestSettings
from services.abtest.store.assignments import AssignmentKey
from services.abtest.store.enrolment import list_enrolments
from services.common import grpc_server
from services.common.batching import Batcher
from services.common.cli import run_service_command
from services.common.database import Database
from services.common.grpc_server import Service


class AtOnce(Batcher[AssignmentKey, AssignmentOutcome]):
    """Does not wait for others: every request is a batch of its own."""

    async def submit(self, request: AssignmentKey) -> AssignmentOutcome:
        """Return the outcome of `request` alone."""
        [outcome] = await self._work([request])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def serve(settings: AbtestSettings, way: str) -> None:
    """Serve until the process is told to stop."""
    database = await Database.open(
        settings.database_url, application_name="benchmark", max_size=settings.database_connections
    )
    test_id = os.environ["TEST_ID"]
    async with database.acquire() as connection:
        enrolment = (await list_enrolments(connection, [test_id]))[test_id]

    async def hash_only(keys: Sequence[AssignmentKey]) -> Sequence[AssignmentOutcome | Exception]:
        placed = [place(enrolment, key, (), datetime.now(UTC)) for key in keys]
        return [AssignmentOutcome(assignment=one) if isinstance(one, Assignment) else one for one in placed]

    operations = AssignmentOperations(database, now=lambda: datetime.now(UTC), slot=0)
    methods = AssignmentMethods()
    methods.assignment = operations
    methods.group_commit = AtOnce(
        "assignments",
        hash_only if way == "hash" else operations.assign_users,
        batch_size=1,
        most_waiting=10_000,
    )
    service = Service(
        name=SERVICE_NAME,
        register=lambda server: pb_grpc.add_ABTestServiceServicer_to_server(methods, server),
    )
    await grpc_server.serve(settings=settings, services=[service], ready=database.ping)
    await database.close()


if __name__ == "__main__":
    way = sys.argv[1]
    sys.exit(
        run_service_command(
            "abtest", AbtestSettings, lambda settings: serve(settings, way), migrates=False, arguments=[]
        )
    )
