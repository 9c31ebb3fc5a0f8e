"""The statements of `sql/queries.sql`, loaded once, and the driver's types under short names."""

from asyncpg import Record

from services.common.database import Connection
from services.common.statements import load_statements

STATEMENTS = load_statements("services.analytics")

__all__ = ["STATEMENTS", "Connection", "Record"]
