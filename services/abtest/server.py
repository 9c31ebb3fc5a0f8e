"""The composition root: where the database, the operations and the servicer meet."""

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial

from gen.campaigns.abtest.v1 import abtest_service_pb2, export_service_pb2, operations_service_pb2
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import add_ABTestServiceServicer_to_server
from gen.campaigns.abtest.v1.export_service_pb2_grpc import add_ABTestExportServiceServicer_to_server
from gen.campaigns.abtest.v1.operations_service_pb2_grpc import (
    add_ABTestOperationsServiceServicer_to_server,
)
from services.abtest.operations.analysis import AnalysisOperations
from services.abtest.operations.assignment import COUNTER_SLOTS, AssignmentOperations
from services.abtest.operations.bandit import BanditOperations
from services.abtest.operations.changes import ChangeOperations
from services.abtest.operations.creation import CreationOperations
from services.abtest.operations.duration import DurationOperations
from services.abtest.operations.enrolment import EnrolmentOperations
from services.abtest.operations.exposures import ExposureOperations
from services.abtest.operations.history import HistoryOperations
from services.abtest.operations.jobs import build_jobs
from services.abtest.operations.lifecycle import LifecycleOperations
from services.abtest.operations.overlaps import OverlapOperations
from services.abtest.operations.progress import ProgressOperations
from services.abtest.operations.simulation import SimulationOperations
from services.abtest.servicer.abtest import ABTestServicer
from services.abtest.servicer.export import ExportServicer
from services.abtest.servicer.operations import OperationsServicer
from services.abtest.settings import AbtestSettings
from services.abtest.simulating_process import SimulatingProcess
from services.common import grpc_server
from services.common.batching import Batcher
from services.common.database import Database
from services.common.grpc_server import Service
from services.common.jobs import Job
from services.common.service_database import open_database, open_jobs_database, running_jobs

SERVICE_NAME = abtest_service_pb2.DESCRIPTOR.services_by_name["ABTestService"].full_name
EXPORT_SERVICE_NAME = export_service_pb2.DESCRIPTOR.services_by_name["ABTestExportService"].full_name
OPERATIONS_SERVICE_NAME = operations_service_pb2.DESCRIPTOR.services_by_name[
    "ABTestOperationsService"
].full_name
APPLICATION_NAME = "abtest"
JOB_STATEMENT_SECONDS = 3600.0
"""A job's analysis of a large test may take longer than a request's."""


@asynccontextmanager
async def open_services(
    settings: AbtestSettings, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> AsyncIterator[tuple[Sequence[Service], Database]]:
    """Connect to the database and give the services that answer from it; all ends with the block.

    `now` is the clock that every time kept comes from.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings, application_name=APPLICATION_NAME))
        jobs_database = await stack.enter_async_context(
            open_jobs_database(
                settings,
                database,
                application_name=APPLICATION_NAME,
                statement_timeout_seconds=JOB_STATEMENT_SECONDS,
            )
        )
        jobs = await stack.enter_async_context(
            running_jobs(settings, database, _build_jobs(settings, jobs_database, now))
        )
        servicer = _build_servicer(settings, database, now)
        yield (
            [
                Service(
                    name=SERVICE_NAME,
                    register=partial(add_ABTestServiceServicer_to_server, servicer),
                ),
                Service(
                    name=OPERATIONS_SERVICE_NAME,
                    register=partial(add_ABTestOperationsServiceServicer_to_server, OperationsServicer(jobs)),
                ),
                Service(
                    name=EXPORT_SERVICE_NAME,
                    register=partial(
                        add_ABTestExportServiceServicer_to_server, ExportServicer(servicer.analysis)
                    ),
                ),
            ],
            database,
        )


def _build_jobs(settings: AbtestSettings, database: Database, now: Callable[[], datetime]) -> Sequence[Job]:
    analysis = AnalysisOperations(database, now=now)
    return build_jobs(
        bandits=BanditOperations(database, now=now, end_test=analysis.end_test),
        bandit_seconds=settings.bandit_interval_seconds,
        lifecycle=LifecycleOperations(database, now=now),
        end_test=analysis.end_test,
        schedule_seconds=settings.schedule_interval_seconds,
    )


def _build_servicer(
    settings: AbtestSettings, database: Database, now: Callable[[], datetime]
) -> ABTestServicer:
    slot = secrets.randbelow(COUNTER_SLOTS)
    assignment = AssignmentOperations(database, now=now, slot=slot)
    analysis = AnalysisOperations(database, now=now)
    return ABTestServicer(
        analysis=analysis,
        assignment=assignment,
        group_commit=Batcher(
            "assignments",
            assignment.assign_users,
            batch_size=settings.assignment_batch_size,
            most_waiting=settings.waiting_assignments,
        ),
        bandit=BanditOperations(database, now=now, end_test=analysis.end_test),
        changes=ChangeOperations(database, now=now),
        creation=CreationOperations(database, now=now, new_test_id=lambda: uuid.uuid4().hex),
        duration=DurationOperations(database, now=now),
        enrolment=EnrolmentOperations(database, now=now),
        exposures=ExposureOperations(database, now=now, slot=slot),
        history=HistoryOperations(database),
        lifecycle=LifecycleOperations(database, now=now),
        overlaps=OverlapOperations(database),
        progress=ProgressOperations(database),
        simulation=SimulationOperations(
            SimulatingProcess(timeout_seconds=settings.simulation_timeout_seconds).run,
            at_once=settings.concurrent_simulations,
            waiting=settings.waiting_simulations,
        ),
    )


async def serve(
    settings: AbtestSettings,
    *,
    stopping: asyncio.Event | None = None,
    on_started: Callable[[int], None] | None = None,
) -> None:
    """Serve until told to stop; ready while the database answers."""
    async with open_services(settings) as (services, database):
        await grpc_server.serve(
            settings=settings,
            services=services,
            ready=database.ping,
            stopping=stopping,
            on_started=on_started,
        )
