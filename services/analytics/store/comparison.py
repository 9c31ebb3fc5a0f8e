"""Statements that put campaigns side by side."""

from collections.abc import Mapping, Sequence

from services.analytics.domain.comparison import ComparedMetric, SharedSums
from services.analytics.store.statements import STATEMENTS, Connection, Record

_COLUMNS: Mapping[ComparedMetric, tuple[str, str]] = {
    "view_rate": ("views", "impressions"),
    "ctr": ("clicks", "impressions"),
    "conversion_rate": ("conversions", "views"),
    "user_conversion_rate": ("converting", "reached"),
    "revenue_per_impression": ("revenue", "impressions"),
    "roas": ("revenue", "cost"),
}
"""Numerator and denominator of a metric in the columns of list_shared_user_sums."""


async def list_shared_sums(
    connection: Connection, baseline: str, others: Sequence[str]
) -> Mapping[str, dict[ComparedMetric, SharedSums]]:
    """Return what users shared with a baseline did in both, by campaign; absent where nobody is shared."""
    rows = await connection.fetch(STATEMENTS["list_shared_user_sums"].sql, baseline, others)
    return {row["campaign_id"]: {metric: _shared(row, metric) for metric in _COLUMNS} for row in rows}


async def list_segment_cells(
    connection: Connection, campaign_ids: Sequence[str]
) -> Mapping[str, dict[str, tuple[int, int]]]:
    """Return conversions and views by segment, by campaign."""
    cells: dict[str, dict[str, tuple[int, int]]] = {}
    for row in await connection.fetch(STATEMENTS["list_compared_segments"].sql, campaign_ids):
        cells.setdefault(row["campaign_id"], {})[row["segment_name"]] = (row["conversions"], row["views"])
    return cells


def _shared(row: Record, metric: ComparedMetric) -> SharedSums:
    y, x = _COLUMNS[metric]
    return SharedSums(
        users=row["users"],
        y1=row[f"{y}_1"],
        x1=row[f"{x}_1"],
        y0=row[f"{y}_0"],
        x0=row[f"{x}_0"],
        y1_y0=int(row[f"{y}_{y}"]),
        y1_x0=int(row[f"{y}_{x}"]),
        x1_y0=int(row[f"{x}_{y}"]),
        x1_x0=int(row[f"{x}_{x}"]),
    )
