"""The composition root: where database, model server, operations and servicers meet."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from cachetools import TTLCache

from gen.campaigns.optimizer.v1 import operations_service_pb2, optimizer_service_pb2
from gen.campaigns.optimizer.v1.operations_service_pb2_grpc import (
    add_OptimizerOperationsServiceServicer_to_server,
)
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import add_OptimizerServiceServicer_to_server
from services.common import grpc_server
from services.common.database import Database
from services.common.grpc_client import open_channel
from services.common.grpc_server import Service
from services.common.jobs import Job
from services.common.service_database import open_database, open_jobs_database, running_jobs
from services.optimizer.affinity_process import AffinityProcess
from services.optimizer.domain.models.version import CONVERSION_MODEL
from services.optimizer.domain.send_time.send_time import QuietHours
from services.optimizer.model_client import ModelClient
from services.optimizer.model_repository import ModelRepository
from services.optimizer.operations.affinity import AffinityOperations
from services.optimizer.operations.affinity_jobs import build_affinity_jobs
from services.optimizer.operations.campaign_choice import CampaignChoiceOperations
from services.optimizer.operations.campaign_rates import KEPT_SECONDS, MOST_KEPT, CampaignRates
from services.optimizer.operations.heavy_reading import build_reading_room
from services.optimizer.operations.lookup import LiveModel
from services.optimizer.operations.model_keeping import ModelKeeper
from services.optimizer.operations.models import ModelOperations
from services.optimizer.operations.offer_constraints import OfferConstraintOperations
from services.optimizer.operations.offer_outcomes import (
    OutcomeKeeper,
    OutcomeOperations,
    build_outcomes_job,
)
from services.optimizer.operations.offers import OfferOperations
from services.optimizer.operations.policies import PolicyOperations
from services.optimizer.operations.prediction import PredictionOperations
from services.optimizer.operations.publication import Publication
from services.optimizer.operations.recommendation_sources import RecommendationSources
from services.optimizer.operations.recommendations import RecommendationOperations
from services.optimizer.operations.retention import RecordKeeper
from services.optimizer.operations.segments import SegmentOperations
from services.optimizer.operations.send_time_jobs import build_send_time_job
from services.optimizer.operations.send_times import SendTimeOperations
from services.optimizer.operations.training import Trainer, TrainingOperations
from services.optimizer.operations.training_jobs import DriftMeter, build_training_jobs
from services.optimizer.send_time_process import SendTimeProcess
from services.optimizer.servicer.operations import OperationsServicer
from services.optimizer.servicer.optimizer import OptimizerServicer
from services.optimizer.settings import OptimizerSettings
from services.optimizer.training_process import TrainingProcess

SERVICE_NAME = optimizer_service_pb2.DESCRIPTOR.services_by_name["OptimizerService"].full_name
OPERATIONS_SERVICE_NAME = operations_service_pb2.DESCRIPTOR.services_by_name[
    "OptimizerOperationsService"
].full_name
APPLICATION_NAME = "optimizer"
JOB_STATEMENT_SECONDS = 3600.0
"""A job may read all events; a request may not."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What every operation is built from: settings, the model server, the way of training, the clock."""

    settings: OptimizerSettings
    models: ModelClient
    repository: ModelRepository
    trainer: Trainer
    meter: DriftMeter
    live: LiveModel
    now: Callable[[], datetime]
    is_stopping: Callable[[], bool]

    @property
    def publication(self) -> Publication:
        """What puts versions live."""
        return Publication(self.models, self.repository, now=self.now)


@asynccontextmanager
async def open_services(
    settings: OptimizerSettings,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    trainer: Trainer | None = None,
    stopping: asyncio.Event | None = None,
) -> AsyncIterator[tuple[Sequence[Service], Database]]:
    """Connect, and give the services that answer; everything is closed with the block.

    Args:
        settings: where the database, the model server and the model repository are.
        now: the clock that every time kept comes from.
        trainer: instead of a process of its own per training.
        stopping: set by the caller once it stops; the end of the block sets it too.
    """
    stopping = stopping or asyncio.Event()
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
        channel = open_channel(settings.model_server_address, max_message_bytes=settings.max_message_bytes)
        stack.push_async_callback(channel.close)
        around = Surroundings(
            settings=settings,
            models=ModelClient(
                channel,
                inference_seconds=settings.inference_timeout_seconds,
                load_seconds=settings.load_timeout_seconds,
            ),
            repository=ModelRepository(settings.repository, CONVERSION_MODEL),
            trainer=trainer or _training_process(settings),
            meter=_training_process(settings),
            live=LiveModel(),
            now=now,
            is_stopping=stopping.is_set,
        )
        jobs = await stack.enter_async_context(
            running_jobs(settings, database, _build_jobs(around, jobs_database))
        )
        keeper = ModelKeeper(
            database, around.models, around.publication, seconds=settings.model_check_seconds
        )
        await stack.enter_async_context(keeper.running())
        training = _training_operations(around, database)
        stack.push_async_callback(training.wait_until_cut_off)
        stack.callback(stopping.set)  # the first thing at the end
        yield _services(_build_servicer(around, database, training), OperationsServicer(jobs)), database


def _services(optimizer: OptimizerServicer, operations: OperationsServicer) -> Sequence[Service]:
    return [
        Service(name=SERVICE_NAME, register=partial(add_OptimizerServiceServicer_to_server, optimizer)),
        Service(
            name=OPERATIONS_SERVICE_NAME,
            register=partial(add_OptimizerOperationsServiceServicer_to_server, operations),
        ),
    ]


def _training_process(settings: OptimizerSettings) -> TrainingProcess:
    return TrainingProcess(
        database_url=settings.database_url,
        repository=settings.repository,
        timeout_seconds=settings.training_timeout_seconds,
        max_samples=settings.training_max_samples,
        dask_scheduler=settings.dask_scheduler,
        priority=settings.training_priority,
    )


def _build_jobs(around: Surroundings, database: Database) -> Sequence[Job]:
    """Return every job, on the jobs' own connections; the same in all replicas."""
    settings = around.settings
    return [
        *build_training_jobs(
            database=database,
            training=_training_operations(around, database),
            models=_model_operations(around, database),
            records=RecordKeeper(
                database, kept=timedelta(days=settings.record_retention_days), now=around.now
            ),
            meter=around.meter,
            now=around.now,
            hour=settings.retraining_hour,
            retention=timedelta(days=settings.model_retention_days),
        ),
        *build_affinity_jobs(
            AffinityOperations(database, now=around.now),
            AffinityProcess(
                database_url=settings.database_url, timeout_seconds=settings.affinity_timeout_seconds
            ),
            fit_seconds=settings.affinity_fit_seconds,
            refresh_seconds=settings.affinity_refresh_seconds,
        ),
        build_outcomes_job(OutcomeKeeper(database, now=around.now), seconds=settings.outcomes_seconds),
        build_send_time_job(
            _send_time_operations(around, database),
            SendTimeProcess(
                database_url=settings.database_url,
                timeout_seconds=settings.send_times_timeout_seconds,
                quiet=_quiet_hours(settings),
                profile_hours=settings.send_time_profile_hours,
            ),
            seconds=settings.send_times_seconds,
        ),
    ]


def _build_servicer(
    around: Surroundings, database: Database, training: TrainingOperations
) -> OptimizerServicer:
    models, now = around.models, around.now
    affinities = AffinityOperations(database, now=now)
    offers = OfferOperations(database, models=models, live=around.live, now=now)
    room = build_reading_room()
    segments = SegmentOperations(database, room=room, now=now)
    sources = RecommendationSources(database, offers=offers, segments=segments, room=room)
    return OptimizerServicer(
        affinity=affinities,
        campaign_choice=CampaignChoiceOperations(
            database,
            affinities=affinities,
            rates=CampaignRates(database, models, kept=TTLCache(MOST_KEPT, KEPT_SECONDS)),
            live=around.live,
            now=now,
        ),
        offer_constraints=OfferConstraintOperations(database, now=now),
        offers=offers,
        outcomes=OutcomeOperations(database),
        policies=PolicyOperations(database, room=room, now=now),
        recommendations=RecommendationOperations(database, sources=sources, now=now),
        segments=segments,
        send_times=_send_time_operations(around, database),
        prediction=PredictionOperations(database, live=around.live, now=now),
        models=_model_operations(around, database),
        training=training,
    )


def _model_operations(around: Surroundings, database: Database) -> ModelOperations:
    return ModelOperations(
        database,
        publication=around.publication,
        repository=around.repository,
        now=around.now,
    )


def _quiet_hours(settings: OptimizerSettings) -> QuietHours:
    return QuietHours(start=settings.quiet_start_hour, end=settings.quiet_end_hour)


def _send_time_operations(around: Surroundings, database: Database) -> SendTimeOperations:
    settings = around.settings
    return SendTimeOperations(
        database,
        now=around.now,
        quiet=_quiet_hours(settings),
        refit=timedelta(hours=settings.send_time_profile_hours),
    )


def _training_operations(around: Surroundings, database: Database) -> TrainingOperations:
    return TrainingOperations(
        database,
        models=around.models,
        publication=around.publication,
        trainer=around.trainer,
        now=around.now,
        is_stopping=around.is_stopping,
    )


async def serve(
    settings: OptimizerSettings,
    *,
    stopping: asyncio.Event | None = None,
    on_started: Callable[[int], None] | None = None,
) -> None:
    """Serve until told to stop; ready while the database answers."""
    stopping = stopping or asyncio.Event()
    async with open_services(settings, stopping=stopping) as (services, database):
        await grpc_server.serve(
            settings=settings,
            services=services,
            ready=database.ping,
            stopping=stopping,
            on_started=on_started,
        )
