"""Statements of who got which group."""

from collections.abc import Sequence
from datetime import datetime

from services.abtest.domain.model import Assignment, Group
from services.abtest.store.statements import STATEMENTS, Connection, Record

AssignmentKey = tuple[str, str]
"""A test_id and a user_id."""


async def list_assignments(
    connection: Connection, keys: Sequence[AssignmentKey]
) -> dict[AssignmentKey, Assignment]:
    """Return the assignments that exist of `keys`."""
    rows = await connection.fetch(
        STATEMENTS["list_assignments"].sql, [key[0] for key in keys], [key[1] for key in keys]
    )
    return {(row["test_id"], row["user_id"]): _assignment(row) for row in rows}


async def insert_assignments(
    connection: Connection, assignments: Sequence[Assignment], *, assigned_at: datetime, slot: int
) -> set[AssignmentKey]:
    """Add first assignments, counted in `slot`; return those that were added.

    Left out are those that are there already, and those of tests that have stopped enrolling or have another
    epoch by now.
    """
    rows = await connection.fetch(
        STATEMENTS["insert_assignments"].sql,
        [assignment.test_id for assignment in assignments],
        [assignment.user_id for assignment in assignments],
        [assignment.group_index for assignment in assignments],
        [assignment.epoch for assignment in assignments],
        [assignment.propensity for assignment in assignments],
        assigned_at,
        slot,
    )
    return {(row["test_id"], row["user_id"]) for row in rows}


async def list_group_users(connection: Connection, test_id: str) -> dict[int, int]:
    """Return the assigned users by group index; groups without users are left out."""
    rows = await connection.fetch(STATEMENTS["list_group_users"].sql, test_id)
    return {row["group_index"]: row["users"] for row in rows}


def _assignment(row: Record) -> Assignment:
    return Assignment(
        test_id=row["test_id"],
        user_id=row["user_id"],
        group_index=row["group_index"],
        group=Group(name=row["group_name"], campaign_id=row["campaign_id"]),
        epoch=row["epoch"],
        propensity=row["propensity"],
        assigned_at=row["assigned_at"],
    )
