"""Users' visits to merchants in a real database, and the runs that fit and score them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg

from gen.campaigns.optimizer.v1 import affinity_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from services.common.database import Database
from services.optimizer.affinity_training.run import run_refresh
from services.optimizer.affinity_training.run_fit import run_fit

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CONVERTED, GEOFENCE_ENTERED = 4, 7


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = await Database.open(url, application_name="test", max_size=2)
    try:
        yield database
    finally:
        await database.close()


async def fit(url: str, now: datetime = NOW) -> str:
    async with opened(url) as database:
        return await run_fit(database, now=lambda: now, on_progress=lambda _stage, _share: None)


async def refresh(url: str, now: datetime) -> str:
    async with opened(url) as database:
        return await run_refresh(database, now=lambda: now)


async def insert_visits(
    url: str,
    user: str,
    merchants: Sequence[int],
    *,
    until: datetime = NOW,
    kind: int = CONVERTED,
) -> None:
    """Keep an event of a user at each merchant, the last an hour before `until`, one a day."""
    connection = await asyncpg.connect(url)
    try:
        await connection.executemany(
            "insert into analytics.events (user_id, event_id, event_type, event_at, counted_at, merchant_id,"
            " stamped_fields, is_machine_open, currency_code)"
            " values ($1, $2, $3, $4, $4, $5, 0, false, 'USD')",
            [
                (
                    *(user, f"{kind}.{until.isoformat()}.{place}", kind),
                    until - timedelta(days=len(merchants) - 1 - place, hours=1),
                    merchant,
                )
                for place, merchant in enumerate(merchants)
            ],
        )
    finally:
        await connection.close()


async def ask(
    optimizer: OptimizerServiceStub, user: str, limit: int | None = None
) -> pb.GetMerchantAffinityResponse:
    return await optimizer.GetMerchantAffinity(pb.GetMerchantAffinityRequest(user_id=user, limit=limit))
