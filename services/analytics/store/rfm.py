"""Statements of users by recency, frequency and money."""

from collections.abc import Sequence
from datetime import date, datetime

from services.analytics.domain.rfm import SegmentTotals
from services.analytics.store.statements import STATEMENTS, Connection


async def count_user_rfm(
    connection: Connection, recency_scores: Sequence[int], value_scores: Sequence[int], names: Sequence[str]
) -> int:
    """Put every user with a purchase into a segment by a grid in columns; return how many there are."""
    return int(
        await connection.fetchval(
            STATEMENTS["count_user_rfm"].sql, list(recency_scores), list(value_scores), list(names)
        )
    )


async def count_segments(connection: Connection, today: date, without_purchase: str) -> None:
    """Add up the segments, of all users and of every campaign's."""
    await connection.execute(STATEMENTS["clear_rfm_segments"].sql)
    await connection.execute(STATEMENTS["count_rfm_segments"].sql, today)
    await connection.execute(STATEMENTS["count_campaigns_by_rfm"].sql, without_purchase)


async def list_segments(connection: Connection) -> tuple[datetime | None, Sequence[SegmentTotals]]:
    """Return up to when purchases are counted (None before the first run), and every segment."""
    rows = await connection.fetch(STATEMENTS["list_rfm_segments"].sql)
    totals = [
        SegmentTotals(
            currency_code=row["currency_code"],
            segment_name=row["segment_name"],
            users=row["users"],
            recency_days=row["recency_days"],
            frequency=row["frequency"],
            monetary_micros=row["monetary_micros"],
        )
        for row in rows
        if row["segment_name"] is not None
    ]
    return (rows[0]["as_of"] if rows else None), totals
