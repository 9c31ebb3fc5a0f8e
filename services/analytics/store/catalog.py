"""Statements of the catalog."""

from collections.abc import Mapping, Sequence

from services.analytics.domain.catalog import Campaign, Merchant, User
from services.analytics.store.statements import STATEMENTS, Connection


async def lock_catalog(connection: Connection) -> None:
    """Keep batches of events out until the transaction ends."""
    await connection.execute(STATEMENTS["lock_catalog"].sql)


async def list_known_merchants(
    connection: Connection, merchant_ids: Sequence[int]
) -> Mapping[int, str | None]:
    """Return the currency of each of `merchant_ids` that is in the catalog."""
    rows = await connection.fetch(STATEMENTS["list_known_merchants"].sql, merchant_ids)
    return {row["merchant_id"]: row["currency_code"] for row in rows}


async def list_fixed_currencies(connection: Connection, campaign_ids: Sequence[str]) -> Mapping[str, str]:
    """Return the currency of each of `campaign_ids` that has events."""
    rows = await connection.fetch(STATEMENTS["list_fixed_currencies"].sql, campaign_ids)
    return {row["campaign_id"]: row["counted_currency_code"] for row in rows}


async def upsert_campaigns(connection: Connection, campaigns: Sequence[Campaign]) -> None:
    """Create campaigns or take their place."""
    await connection.execute(
        STATEMENTS["upsert_campaigns"].sql,
        [c.campaign_id for c in campaigns],
        [c.campaign_name for c in campaigns],
        [c.campaign_type for c in campaigns],
        [c.merchant_id for c in campaigns],
        [c.channel for c in campaigns],
        [c.offer_amount_micros for c in campaigns],
        [c.gross_margin_rate for c in campaigns],
        [c.currency_code for c in campaigns],
        [c.start_at for c in campaigns],
        [c.end_at for c in campaigns],
    )


async def list_campaigns(connection: Connection, *, after: str, limit: int) -> Sequence[Campaign]:
    """Return at most `limit` campaigns after a campaign_id, by campaign_id."""
    rows = await connection.fetch(STATEMENTS["list_campaigns"].sql, after, limit)
    return [Campaign(**row) for row in rows]


async def upsert_merchants(connection: Connection, merchants: Sequence[Merchant]) -> None:
    """Create merchants or take their place."""
    await connection.execute(
        STATEMENTS["upsert_merchants"].sql,
        [m.merchant_id for m in merchants],
        [m.merchant_name for m in merchants],
        [m.category for m in merchants],
        [m.latitude for m in merchants],
        [m.longitude for m in merchants],
        [m.currency_code for m in merchants],
    )


async def list_merchants(connection: Connection, *, after: int, limit: int) -> Sequence[Merchant]:
    """Return at most `limit` merchants after a merchant_id, by merchant_id."""
    rows = await connection.fetch(STATEMENTS["list_merchants"].sql, after, limit)
    return [Merchant(**row) for row in rows]


async def ensure_segment_set(connection: Connection, segments: Sequence[str]) -> int | None:
    """Return the number of a sorted set of segments, which is kept if it is new.

    None where another transaction made the same set and committed just now: ask again.
    """
    number: int | None = await connection.fetchval(STATEMENTS["ensure_segment_set"].sql, segments)
    return number


async def upsert_users(
    connection: Connection, users: Sequence[User], segment_set_ids: Sequence[int | None]
) -> None:
    """Create users or take their place, each with the number of their set of segments."""
    await connection.execute(
        STATEMENTS["upsert_users"].sql,
        [u.user_id for u in users],
        [u.sign_up_at for u in users],
        [u.time_zone for u in users],
        segment_set_ids,
    )


async def list_users(connection: Connection, *, after: str, limit: int) -> Sequence[User]:
    """Return at most `limit` users after a user_id, by user_id."""
    rows = await connection.fetch(STATEMENTS["list_users"].sql, after, limit)
    return [
        User(
            user_id=row["user_id"],
            sign_up_at=row["sign_up_at"],
            time_zone=row["time_zone"],
            segments=tuple(row["segments"]),
        )
        for row in rows
    ]
