"""Events and a small catalog as analytics keeps them, for tests that read events."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

DELIVERED, VIEWED, CONVERTED, REFUNDED = 1, 2, 4, 5


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event of a campaign; money in currency units. A refund counts at another time than its own."""

    user_id: str
    event_id: str
    event_type: int
    at: datetime
    campaign_id: str = "c1"
    offer: float | None = None
    propensity: float | None = None
    revenue: float | None = None
    segment_set: int | None = None
    original: str | None = None
    counted_at: datetime | None = None


async def insert_campaigns(
    url: str,
    campaign_ids: Iterable[str],
    *,
    campaign_type: int | None = 1,
    margin: float | None = 0.5,
    offer: int | None = 10,
    channel: int | None = 1,
    currency: str = "USD",
) -> None:
    """Put campaigns into the catalog; a reporting zone of UTC with them."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "insert into analytics.reporting_settings (reporting_time_zone) values ('UTC')"
            " on conflict do nothing"
        )
        await connection.executemany(
            "insert into analytics.campaigns (campaign_id, campaign_name, campaign_type, merchant_id,"
            " channel, offer_amount_micros, gross_margin_rate, currency_code)"
            " values ($1, $1, $2, 1, $3, $4::bigint * 1000000, $5, $6)",
            [(campaign_id, campaign_type, channel, offer, margin, currency) for campaign_id in campaign_ids],
        )
    finally:
        await connection.close()


async def insert_segment_sets(url: str, sets: Sequence[Sequence[str]]) -> list[int]:
    """Keep sets of segments; returns their numbers."""
    connection = await asyncpg.connect(url)
    try:
        return [
            await connection.fetchval(
                "insert into analytics.segment_sets (segments) values ($1) returning segment_set_id",
                list(names),
            )
            for names in sets
        ]
    finally:
        await connection.close()


async def insert_events(url: str, events: Iterable[Event]) -> None:
    """Keep events, without the rollups."""
    connection = await asyncpg.connect(url)
    try:
        await connection.copy_records_to_table(
            "events",
            schema_name="analytics",
            columns=[
                *("user_id", "event_id", "event_type", "event_at", "counted_at", "campaign_id"),
                *("offer_amount_micros", "propensity", "revenue_micros", "segment_set_id"),
                *("original_event_id", "stamped_fields", "is_machine_open", "currency_code"),
            ],
            records=[
                (
                    *(event.user_id, event.event_id, event.event_type, event.at),
                    *(event.counted_at or event.at, event.campaign_id),
                    _micros(event.offer),
                    event.propensity,
                    _micros(event.revenue),
                    event.segment_set,
                    event.original,
                    0,
                    False,
                    "USD",
                )
                for event in events
            ],
        )
    finally:
        await connection.close()


def _micros(money: float | None) -> int | None:
    return None if money is None else round(money * 1_000_000)
