"""Statements of the audit log."""

import json
from datetime import datetime

from services.abtest.domain.changes import Change, ChangeNote, Difference, Value
from services.abtest.domain.lifecycle import Action
from services.abtest.store.statements import STATEMENTS, Connection


async def insert_change(
    connection: Connection,
    test_id: str,
    *,
    changed_at: datetime,
    note: ChangeNote,
    action: Action,
    differences: tuple[Difference, ...],
) -> None:
    """Add a change; needs lock_test, or the transaction of the test's creation."""
    await connection.execute(
        STATEMENTS["insert_change"].sql,
        test_id,
        changed_at,
        note.actor,
        action,
        note.comment,
        _dump(differences),
    )


async def list_changes(connection: Connection, test_id: str, before: int, limit: int) -> list[Change]:
    """Return at most `limit` changes before the one numbered `before`, the newest first."""
    rows = await connection.fetch(STATEMENTS["list_changes"].sql, test_id, before, limit)
    return [
        Change(
            number=row["change_number"],
            changed_at=row["changed_at"],
            note=ChangeNote(actor=row["actor"], comment=row["comment"]),
            action=Action(row["action"]),
            differences=tuple(Difference(**kept) for kept in json.loads(row["differences"])),
        )
        for row in rows
    ]


def as_kept(differences: tuple[Difference, ...]) -> list[dict[str, Value]]:
    """Return differences as reading them back gives them: equal differences are equal here."""
    kept: list[dict[str, Value]] = json.loads(_dump(differences))
    return kept


def _dump(differences: tuple[Difference, ...]) -> str:
    return json.dumps(
        [{"field": each.field, "before": each.before, "after": each.after} for each in differences]
    )
