"""Statements of segments: of campaigns, of the users of tests, and of those whose offers were drawn."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.optimizer.domain.models.version import CONVERSION_MODEL
from services.optimizer.domain.response.drawn_offers import DrawnCell, OfferSide
from services.optimizer.domain.segments.offer_mix import OfferViewers
from services.optimizer.domain.segments.segments import SegmentSums
from services.optimizer.domain.segments.uplift import OfferMoments, SegmentCell, VariantOfTest
from services.optimizer.store.statements import STATEMENTS, Connection, Record

MOST_TESTS: Final = 20
"""Variants of tests that one ranking looks at: those begun last."""
MOST_CAMPAIGNS: Final = 500
"""Campaigns of a type whose offers are told apart, those viewed most; others count at their own rate."""
MOST_VIEWERS: Final = 100_000
"""Rows of who viewed which offer that these may have together, a second's work: else there are fewer."""


@dataclass(frozen=True, kw_only=True)
class DrawnWindow:
    """A campaign's deliveries at times [start, end), told by days of a time zone."""

    campaign_id: str
    start: datetime
    end: datetime
    time_zone: str


async def list_segment_sums(connection: Connection, campaign_type: int) -> list[SegmentSums]:
    """Return what was measured of the segments of a type's campaigns."""
    rows = await connection.fetch(STATEMENTS["list_segment_sums"].sql, campaign_type)
    return [SegmentSums(**dict(row)) for row in rows]


async def list_offer_viewers(connection: Connection, campaign_type: int) -> list[OfferViewers]:
    """Return who viewed which offer of a type's campaigns, as counted with the live version."""
    rows = await connection.fetch(
        STATEMENTS["list_offer_viewers"].sql, campaign_type, CONVERSION_MODEL, MOST_CAMPAIGNS, MOST_VIEWERS
    )
    return await asyncio.to_thread(_viewers, rows)


def _viewers(rows: Sequence[Record]) -> list[OfferViewers]:
    return [OfferViewers(**dict(row)) for row in rows]


async def fetch_user_recurrence(connection: Connection, campaign_type: int) -> float | None:
    """Return what users who recur add to the variance over a type's campaigns, None where unknown."""
    inflation: float | None = await connection.fetchval(
        STATEMENTS["fetch_user_recurrence"].sql, campaign_type
    )
    return inflation


async def list_test_cells(connection: Connection, campaign_id: str) -> list[SegmentCell]:
    """Return the users of tests in which a campaign was a variant."""
    rows = await connection.fetch(STATEMENTS["list_test_cells"].sql, campaign_id, MOST_TESTS)
    return [
        SegmentCell(
            variant=VariantOfTest(
                test_id=row["test_id"],
                name=row["variant_name"],
                control_campaign_id=row["control_campaign_id"],
                started_at=row["started_at"],
                ended_at=row["ended_at"],
            ),
            epoch=row["epoch"],
            segment_set=row["segment_set_id"],
            is_control=row["is_control"],
            users=row["users"],
            converting=row["converting"],
        )
        for row in rows
    ]


async def list_drawn_cells(connection: Connection, window: DrawnWindow) -> list[DrawnCell]:
    """Return what was drawn with a known propensity."""
    rows = await connection.fetch(
        STATEMENTS["list_drawn_cells"].sql,
        window.campaign_id,
        window.start,
        window.end,
        window.time_zone,
    )
    return [
        DrawnCell(
            policy_version=row["policy_version"],
            day=row["day"],
            offer_micros=row["offer_amount_micros"],
            propensity=row["propensity"],
            deliveries=row["deliveries"],
        )
        for row in rows
    ]


async def list_offer_moments(
    connection: Connection, window: DrawnWindow, outcome: timedelta, sides: Sequence[OfferSide]
) -> list[OfferMoments]:
    """Return by segment what its users did on either side; an outcome ends after `outcome`, or sooner.

    What else this transaction asks is planned for long lists too.
    """
    await connection.execute(STATEMENTS["join_by_hashes"].sql)
    rows = await connection.fetch(
        STATEMENTS["list_offer_moments"].sql,
        window.campaign_id,
        window.start,
        window.end,
        outcome,
        window.time_zone,
        [side.policy_version for side in sides],
        [side.day for side in sides],
        [side.offer_micros for side in sides],
        [side.is_high for side in sides],
    )
    return [OfferMoments(**dict(row)) for row in rows]
