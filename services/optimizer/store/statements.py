"""The statements of `sql/queries/`, loaded once, and the driver's types under short names."""

from asyncpg import Record

from services.common.database import Connection
from services.common.statements import load_statements

STATEMENTS = load_statements("services.optimizer")

__all__ = ["STATEMENTS", "Connection", "Record", "fetch_required"]


async def fetch_required(connection: Connection, name: str, *arguments: object) -> Record:
    """Return the row of a statement that always answers with one."""
    row = await connection.fetchrow(STATEMENTS[name].sql, *arguments)
    if row is None:
        raise LookupError(f"statement {name} answers with one row, always")
    return row
