"""The composition root: where the repository, the data plane and the servicer meet."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from gen.inference import grpc_service_pb2 as pb
from gen.inference import grpc_service_pb2_grpc as pb_grpc
from services.common import grpc_server
from services.common.errors import DomainError
from services.common.grpc_server import Service
from services.common.telemetry import get_logger
from services.model_server.data_plane import DataPlane
from services.model_server.layout import Layout
from services.model_server.loading import Loader
from services.model_server.repository import Repository
from services.model_server.runner import Runner
from services.model_server.servicer import InferenceServicer
from services.model_server.settings import ModelServerSettings

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
_log = get_logger("model_server")


@asynccontextmanager
async def open_service(settings: ModelServerSettings, stopping: asyncio.Event) -> AsyncIterator[Service]:
    """Load the repository and give the service that answers from it; everything ends with the block."""
    repository = Repository(
        Layout(root=settings.repository),
        Loader(Layout(root=settings.repository), threads=settings.intra_op_threads),
        polls=settings.control_mode == "poll",
    )
    runner = Runner(
        workers=settings.workers,
        inline_milliseconds=settings.inline_milliseconds,
        max_waiting=settings.max_waiting,
    )
    data_plane = DataPlane(repository, runner, max_batch_size=settings.max_batch_size)
    servicer = InferenceServicer(repository, data_plane, stopping)
    async with _kept_up_to_date(repository, settings):
        try:
            yield Service(
                name=SERVICE_NAME,
                register=lambda server: pb_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server),
            )
        finally:
            runner.close()
            repository.close()


async def serve(
    settings: ModelServerSettings,
    *,
    stopping: asyncio.Event | None = None,
    on_started: Callable[[int], None] | None = None,
) -> None:
    """Load the models there are, then serve until told to stop."""
    stopping = stopping or asyncio.Event()
    async with open_service(settings, stopping) as service:
        await grpc_server.serve(
            settings=settings, services=[service], stopping=stopping, on_started=on_started
        )


@asynccontextmanager
async def _kept_up_to_date(repository: Repository, settings: ModelServerSettings) -> AsyncIterator[None]:
    """Load what is there, and in mode `poll` what comes, for as long as the block runs."""
    if settings.control_mode == "explicit":
        await repository.load_all()
        yield
        return
    await repository.poll()
    polling = asyncio.create_task(_poll(repository, settings.poll_seconds))
    try:
        yield
    finally:
        polling.cancel()
        with suppress(asyncio.CancelledError):
            await polling


async def _poll(repository: Repository, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await repository.poll()
        except DomainError as error:
            _log.warning("repository not polled", reason=error.reason, error=error.message)
        except Exception as error:  # noqa: BLE001 (nobody else would look)
            _log.error("repository not polled, by a defect", exc_info=error)
