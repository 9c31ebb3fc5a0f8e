"""The optimizer as tests run it: real database, real model server, real stub, one process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from uuid import UUID

import asyncpg
import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferRequest
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from services.common.grpc_client import open_channel
from services.common.grpc_server import build_server
from services.model_server import server as model_server
from services.model_server.settings import ModelServerSettings
from services.optimizer import model_client
from services.optimizer.domain.features import DailyRow
from services.optimizer.domain.models.training_progress import OnProgress, TrainingProgress
from services.optimizer.operations import recommendation_sources, training
from services.optimizer.operations.training import Trainer
from services.optimizer.server import open_services
from services.optimizer.settings import OptimizerSettings
from services.optimizer.training.run import run_training
from tests.unit.optimizer.synthetic import END_DAY, MEAN_REVENUE

NOON = datetime.combine(END_DAY, time(12), tzinfo=UTC)
PATIENCE_SECONDS = 60.0
"""How long tests wait for what comes in its own time: however slow the machine, that is a hang."""


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lift the limits that keep callers from waiting long: on a machine that does much else, tests may."""
    monkeypatch.setattr(model_client, "_READY_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(recommendation_sources, "LONGEST_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(training, "CANCEL_SECONDS", PATIENCE_SECONDS)


async def insert_world(
    url: str,
    rows: Sequence[DailyRow],
    *,
    revenue: bool = True,
    catalog_offers: Sequence[int] | None = None,
    gross_margin_rate: float | None = 1.0,
) -> None:
    """Copy rows into analytics' tables, as its administrator, with the catalog that they need."""
    connection = await asyncpg.connect(url)
    try:
        await _insert_catalog(connection, rows, catalog_offers, gross_margin_rate)
        await _insert_deliveries(connection, rows, revenue=revenue)
    finally:
        await connection.close()


async def _insert_catalog(
    connection: asyncpg.Connection,
    rows: Sequence[DailyRow],
    offers: Sequence[int] | None,
    gross_margin_rate: float | None,
) -> None:
    await connection.execute(
        "insert into analytics.reporting_settings (reporting_time_zone) values ('UTC') on conflict do nothing"
    )
    await connection.executemany(
        "insert into analytics.merchants (merchant_id) values ($1) on conflict do nothing",
        [(merchant,) for merchant in sorted({row[7] for row in rows if row[7] is not None})],
    )
    campaigns = {row[0]: (row[6], row[7]) for row in rows}
    await connection.executemany(
        "insert into analytics.campaigns (campaign_id, campaign_type, merchant_id, offer_amount_micros,"
        " gross_margin_rate, currency_code) values ($1, $2, $3, $4, $5, 'USD') on conflict do nothing",
        [
            (name, kind, merchant, None if offers is None else offers[index], gross_margin_rate)
            for index, (name, (kind, merchant)) in enumerate(campaigns.items())
        ],
    )


async def _insert_deliveries(
    connection: asyncpg.Connection, rows: Sequence[DailyRow], *, revenue: bool
) -> None:
    """Every view is clicked that converts, on no channel; nothing costs anything or is a notification."""
    nothing = (
        "cost_micros",
        "notification_deliveries",
        "notification_opens",
        "geofence_entries",
        "unsubscribes",
    )
    told = (
        *("campaign_id", "day", "offer_amount_micros", "channel", "merchant_id"),
        *("impressions", "views", "clicks", "conversions", "revenue_micros"),
    )
    await connection.copy_records_to_table(
        "campaign_delivery_daily",
        schema_name="analytics",
        columns=[*told, *nothing],
        records=[
            (
                *(row[0], row[1], -1 if row[2] is None else row[2], 0, row[7] or 0),
                *(row[3], row[4], row[5], row[5]),
                int(row[5] * MEAN_REVENUE * 1_000_000) if revenue else 0,
                *(0 for _ in nothing),
            )
            for row in rows
        ],
    )


@dataclass(frozen=True, kw_only=True)
class ThreadTrainer:
    """The real training in a thread: what a process of its own does, without its start-up seconds."""

    settings: OptimizerSettings

    async def run(self, end_day: date, on_progress: OnProgress, *, training_id: UUID | None = None) -> int:
        def hear(stage: str, fraction: float) -> None:
            loop.call_soon_threadsafe(on_progress, TrainingProgress(stage=stage, fraction=fraction))

        def work() -> int:
            return asyncio.run(
                run_training(self.settings, end_day, on_progress=hear, training_id=training_id)
            )

        loop = asyncio.get_running_loop()
        return await asyncio.to_thread(work)


@asynccontextmanager
async def running_model_server(repository: Path, port: int = 0) -> AsyncIterator[int]:
    """Serve `repository` on a port, as the model server does."""
    settings = ModelServerSettings(repository=repository, port=port, metrics_port=0)
    async with model_server.open_service(settings, asyncio.Event()) as service:
        server = build_server(settings=settings, services=[service])
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        try:
            yield bound
        finally:
            await server.stop(None)


def optimizer_settings(
    database_url: str, repository: Path, model_port: int, *, model_check_seconds: float = 3600.0
) -> OptimizerSettings:
    return OptimizerSettings(
        database_url=database_url,
        repository=repository,
        model_server_address=f"127.0.0.1:{model_port}",
        port=0,
        metrics_port=0,
        inference_timeout_seconds=PATIENCE_SECONDS,
        jobs_enabled=False,
        model_check_seconds=model_check_seconds,
    )


@asynccontextmanager
async def running_channel(
    settings: OptimizerSettings,
    *,
    clock: Callable[[], datetime] = lambda: NOON,
    trainer: Trainer | None = None,
) -> AsyncIterator[grpc.aio.Channel]:
    """Serve the optimizer's services and yield a channel to them."""
    async with open_services(settings, now=clock, trainer=trainer) as (services, _):
        server = build_server(settings=settings, services=services)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with open_channel(f"127.0.0.1:{port}") as channel:
                yield channel
        finally:
            await server.stop(None)


@asynccontextmanager
async def running_optimizer(
    settings: OptimizerSettings,
    *,
    clock: Callable[[], datetime] = lambda: NOON,
    trainer: Trainer | None = None,
) -> AsyncIterator[OptimizerServiceStub]:
    """Serve the optimizer and yield a real stub to it."""
    async with running_channel(settings, clock=clock, trainer=trainer) as channel:
        yield OptimizerServiceStub(channel)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What a failed call says to programs."""

    code: str
    reason: str
    message: str
    fields: tuple[str, ...]
    metadata: dict[str, str]


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    details = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    status = status_pb2.Status.FromString(details)
    info, violations = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(violations.DESCRIPTOR):
            detail.Unpack(violations)
    return Refusal(
        code=error.code().name,
        reason=info.reason,
        message=status.message,
        fields=tuple(violation.field for violation in violations.field_violations),
        metadata=dict(info.metadata),
    )


async def refused_offer(stub: OptimizerServiceStub, request: OptimizeOfferRequest) -> Refusal:
    """Return how a question for an offer is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.OptimizeOffer(request)
    return refusal_of(refused.value)


async def fetch_rows(url: str, query: str, *arguments: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(query, *arguments)
    finally:
        await connection.close()


async def lock_every_table(url: str) -> list[str]:
    """Have every table to oneself for a moment, as migrations have; return their names.

    For each the locks of all others must end within ten seconds.
    """
    tables = (
        "select format('%I.%I', schemaname, tablename) as name from pg_tables"
        " where schemaname in ('analytics', 'optimizer')"
    )
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("set local lock_timeout = '10s'")
            names = [row["name"] for row in await connection.fetch(tables)]
            for name in names:
                await connection.execute(f"lock table {name} in access exclusive mode")
    finally:
        await connection.close()
    return names
