"""Statements that forget what is old, a bounded number of rows at a time; each returns how many."""

from datetime import datetime

from services.optimizer.store.statements import Connection, fetch_required


async def delete_closed_recommendations(
    connection: Connection, closed_before: datetime, now: datetime, limit: int
) -> int:
    """Forget closed recommendations and their decisions, but none whose outcome is not final yet."""
    row = await fetch_required(connection, "delete_closed_optimizations", closed_before, now, limit)
    return int(row["deleted"])


async def delete_verdicts(connection: Connection, before: datetime, limit: int) -> int:
    """Forget what the data once spoke against."""
    return int((await fetch_required(connection, "delete_outdated_verdicts", before, limit))["deleted"])


async def delete_trainings(connection: Connection, before: datetime, limit: int) -> int:
    """Forget trainings that are over, but for the one that has learned of the latest day."""
    return int((await fetch_required(connection, "delete_ended_trainings", before, limit))["deleted"])


async def delete_drift(connection: Connection, before: datetime, limit: int) -> int:
    """Forget comparisons of versions with what came later, but for each version's last."""
    return int((await fetch_required(connection, "delete_old_drift", before, limit))["deleted"])


async def delete_affinity_models(connection: Connection, before: datetime, limit: int) -> int:
    """Forget versions of affinities, but for the live and the newest one."""
    return int((await fetch_required(connection, "delete_old_affinity_models", before, limit))["deleted"])
