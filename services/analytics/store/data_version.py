"""The version of the service's data: it differs after every transaction that wrote."""

from services.analytics.store.statements import STATEMENTS, Connection

MARK_WRITE = STATEMENTS["mark_write"].sql
"""What every writing transaction does last (`Database.open`)."""


async def fetch_data_version(connection: Connection) -> int:
    """Return how many writing transactions this snapshot sees."""
    version: int = await connection.fetchval(STATEMENTS["fetch_data_version"].sql)
    return version
