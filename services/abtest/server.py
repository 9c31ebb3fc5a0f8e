"""The composition root: where the database, the operations and the servicer meet."""

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from gen.campaigns.abtest.v1 import abtest_service_pb2 as pb
from gen.campaigns.abtest.v1 import abtest_service_pb2_grpc as pb_grpc
from services.abtest.group_commit import GroupCommit
from services.abtest.operations.analysis import AnalysisOperations
from services.abtest.operations.assignment import COUNTER_SLOTS, AssignmentOperations
from services.abtest.operations.changes import ChangeOperations
from services.abtest.operations.creation import CreationOperations
from services.abtest.operations.enrolment import EnrolmentOperations
from services.abtest.operations.exposures import ExposureOperations
from services.abtest.operations.history import HistoryOperations
from services.abtest.operations.lifecycle import LifecycleOperations
from services.abtest.operations.progress import ProgressOperations
from services.abtest.servicer.abtest import ABTestServicer
from services.abtest.settings import AbtestSettings
from services.common import grpc_server
from services.common.database import Database
from services.common.grpc_server import Service

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["ABTestService"].full_name


@asynccontextmanager
async def open_service(
    settings: AbtestSettings, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> AsyncIterator[tuple[Service, Database]]:
    """Connect to the database and give the service that answers from it; all ends with the block.

    `now` is the clock that every time kept comes from.
    """
    database = await Database.open(
        settings.database_url,
        application_name="abtest",
        max_size=settings.database_connections,
        statement_timeout_seconds=settings.statement_timeout_seconds,
    )
    try:
        servicer = _build_servicer(settings, database, now)
        yield (
            Service(
                name=SERVICE_NAME,
                register=lambda server: pb_grpc.add_ABTestServiceServicer_to_server(servicer, server),
            ),
            database,
        )
    finally:
        await database.close()


def _build_servicer(
    settings: AbtestSettings, database: Database, now: Callable[[], datetime]
) -> ABTestServicer:
    slot = secrets.randbelow(COUNTER_SLOTS)
    assignment = AssignmentOperations(database, now=now, slot=slot)
    return ABTestServicer(
        analysis=AnalysisOperations(database, now=now),
        assignment=assignment,
        group_commit=GroupCommit(assignment.assign_users, batch_size=settings.assignment_batch_size),
        changes=ChangeOperations(database, now=now),
        creation=CreationOperations(database, now=now, new_test_id=lambda: uuid.uuid4().hex),
        enrolment=EnrolmentOperations(database, now=now),
        exposures=ExposureOperations(database, now=now, slot=slot),
        history=HistoryOperations(database),
        lifecycle=LifecycleOperations(database, now=now),
        progress=ProgressOperations(database),
    )


async def serve(
    settings: AbtestSettings,
    *,
    stopping: asyncio.Event | None = None,
    on_started: Callable[[int], None] | None = None,
) -> None:
    """Serve until told to stop; ready while the database answers."""
    async with open_service(settings) as (service, database):
        await grpc_server.serve(
            settings=settings,
            services=[service],
            ready=database.ping,
            stopping=stopping,
            on_started=on_started,
        )
