"""The statements of `sql/queries/`, loaded once, and the driver's types under short names."""

from asyncpg import Record

from services.common.database import Connection
from services.common.statements import load_statements

STATEMENTS = load_statements("services.abtest")

__all__ = ["STATEMENTS", "Connection", "Record"]
