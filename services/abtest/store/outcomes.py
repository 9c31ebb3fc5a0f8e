"""Statements of what users did after they were assigned."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from services.abtest.domain.model import EpochCounts, GroupCounts
from services.abtest.store.statements import STATEMENTS, Connection, Record


async def list_outcomes(
    connection: Connection, test_id: str, groups: int, *, assigned_until: datetime | None = None
) -> list[EpochCounts]:
    """Return the counts of each weight epoch that has users, of all or those assigned by a time."""
    rows = await connection.fetch(STATEMENTS["list_outcomes"].sql, test_id, assigned_until)
    return [
        _epoch_counts(epoch, list(of_epoch), groups)
        for epoch, of_epoch in groupby(rows, key=lambda row: int(row["epoch"]))
    ]


async def fetch_horizon(connection: Connection, test_id: str, target_sample_size: int) -> datetime | None:
    """Return when every group had its target, None before."""
    row = await connection.fetchrow(STATEMENTS["fetch_horizon"].sql, test_id, target_sample_size)
    return None if row is None else row["reached_at"]


def _epoch_counts(epoch: int, rows: Sequence[Record], groups: int) -> EpochCounts:
    counts = {
        row["group_index"]: GroupCounts(users=row["users"], conversions=row["conversions"]) for row in rows
    }
    return EpochCounts(
        epoch=epoch,
        weights=tuple(rows[0]["weights"]),
        groups=tuple(counts.get(index, GroupCounts(users=0)) for index in range(groups)),
    )
