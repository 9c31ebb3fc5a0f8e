"""Statements of segments: of campaigns, and of the users of tests."""

from typing import Final

from services.optimizer.domain.segment_uplift import SegmentCell
from services.optimizer.domain.segments import SegmentSums
from services.optimizer.store.statements import STATEMENTS, Connection

MOST_TESTS: Final = 20
"""Variants of tests that one ranking looks at: the campaign's own, then those begun last."""


async def list_segment_sums(connection: Connection, campaign_type: int) -> list[SegmentSums]:
    """Return what was measured of the segments of a type's campaigns."""
    rows = await connection.fetch(STATEMENTS["list_segment_sums"].sql, campaign_type)
    return [SegmentSums(**dict(row)) for row in rows]


async def list_test_cells(connection: Connection, campaign_id: str, campaign_type: int) -> list[SegmentCell]:
    """Return the users of tests of a campaign, and of its type against others."""
    rows = await connection.fetch(STATEMENTS["list_test_cells"].sql, campaign_id, campaign_type, MOST_TESTS)
    return [
        SegmentCell(
            test=f"{row['test_id']}/{row['variant_name']}",
            epoch=row["epoch"],
            segment_set=row["segment_set_id"],
            is_control=row["is_control"],
            users=row["users"],
            converting=row["converting"],
        )
        for row in rows
    ]
