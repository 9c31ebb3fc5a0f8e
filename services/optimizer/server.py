"""The composition root: where the database, the model server's client and the servicer meet."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from gen.campaigns.optimizer.v1 import optimizer_service_pb2 as pb
from gen.campaigns.optimizer.v1 import optimizer_service_pb2_grpc as pb_grpc
from services.common import grpc_server
from services.common.database import Database
from services.common.grpc_client import open_channel
from services.common.grpc_server import Service
from services.optimizer.model_client import ModelClient
from services.optimizer.operations import Operations, Trainer
from services.optimizer.servicer import OptimizerServicer
from services.optimizer.settings import OptimizerSettings
from services.optimizer.training_process import TrainingProcess

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["OptimizerService"].full_name


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class OpenService:
    """The service to register, and the operations behind it."""

    service: Service
    operations: Operations


@asynccontextmanager
async def open_service(
    settings: OptimizerSettings, *, clock: Callable[[], datetime] = now, trainer: Trainer | None = None
) -> AsyncIterator[OpenService]:
    """Connect, and give the service that answers; everything is closed with the block.

    Args:
        settings: where the database, the model server and the model repository are.
        clock: what time it is.
        trainer: instead of a process of its own per training.
    """
    database = await Database.open(
        settings.database_url, application_name="optimizer", max_size=settings.database_connections
    )
    channel = open_channel(settings.model_server_address, max_message_bytes=settings.max_message_bytes)
    operations = Operations(
        database=database,
        models=ModelClient(
            channel,
            inference_seconds=settings.inference_timeout_seconds,
            load_seconds=settings.load_timeout_seconds,
        ),
        trainer=trainer
        or TrainingProcess(
            database_url=settings.database_url,
            repository=settings.repository,
            timeout_seconds=settings.training_timeout_seconds,
        ),
        clock=clock,
    )
    servicer = OptimizerServicer(operations)
    try:
        yield OpenService(
            service=Service(
                name=SERVICE_NAME,
                register=lambda server: pb_grpc.add_OptimizerServiceServicer_to_server(servicer, server),
            ),
            operations=operations,
        )
    finally:
        await channel.close()
        await database.close()


async def serve(
    settings: OptimizerSettings,
    *,
    stopping: asyncio.Event | None = None,
    on_started: Callable[[int], None] | None = None,
) -> None:
    """Serve until told to stop."""
    async with open_service(settings) as opened:
        await grpc_server.serve(
            settings=settings,
            services=[opened.service],
            ready=opened.operations.require_database,
            stopping=stopping,
            on_started=on_started,
        )
