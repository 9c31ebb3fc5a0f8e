"""Statements of trainings."""

from services.optimizer.store.statements import Connection, fetch_required


async def try_lock_training(connection: Connection) -> bool:
    """Return whether this transaction may train; the right ends with it."""
    row = await fetch_required(connection, "try_lock_training")
    return bool(row["locked"])
