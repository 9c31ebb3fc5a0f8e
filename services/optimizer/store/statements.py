"""The statements of `sql/queries/`, loaded once, and the driver's types under short names."""

from typing import Final

from asyncpg import Record

from services.common.database import Connection
from services.common.statements import load_statements

STATEMENTS = load_statements("services.optimizer")

__all__ = ["STATEMENTS", "Connection", "Record", "fetch_in_batches", "fetch_required"]

BATCH: Final = 2000
"""Rows that the driver decodes at a time: a few milliseconds, in which nobody else is answered."""


async def fetch_in_batches(connection: Connection, name: str, *arguments: object) -> list[list[Record]]:
    """Return the rows of a statement that answers with many, by batches; needs a transaction."""
    cursor = await connection.cursor(STATEMENTS[name].sql, *arguments)
    batches = []
    while rows := await cursor.fetch(BATCH):
        batches.append(rows)
    return batches


async def fetch_required(connection: Connection, name: str, *arguments: object) -> Record:
    """Return the row of a statement that always answers with one."""
    row = await connection.fetchrow(STATEMENTS[name].sql, *arguments)
    if row is None:
        raise LookupError(f"statement {name} answers with one row, always")
    return row
