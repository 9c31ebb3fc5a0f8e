"""Statements of who saw what the group sees."""

from collections.abc import Sequence

from services.abtest.domain.exposures import Exposure
from services.abtest.store.statements import STATEMENTS, Connection


async def insert_exposures(
    connection: Connection, exposures: Sequence[Exposure], group_indexes: Sequence[int], *, slot: int
) -> set[tuple[str, str, str]]:
    """Record exposures of users of these groups, counted in `slot`; return which are a source's first.

    `exposures` are ordered by (user_id, test_id, source), each once; what is returned are those keys.
    """
    rows = await connection.fetch(
        STATEMENTS["insert_exposures"].sql,
        [exposure.user_id for exposure in exposures],
        [exposure.test_id for exposure in exposures],
        [exposure.source for exposure in exposures],
        [exposure.exposed_at for exposure in exposures],
        list(group_indexes),
        slot,
    )
    return {(row["user_id"], row["test_id"], row["source"]) for row in rows}


async def list_exposed_users(connection: Connection, test_id: str) -> dict[str, dict[int, int]]:
    """Return the exposed users by source and group index; groups without users are left out."""
    found: dict[str, dict[int, int]] = {}
    for row in await connection.fetch(STATEMENTS["list_exposed_users"].sql, test_id):
        found.setdefault(row["source"], {})[row["group_index"]] = row["users"]
    return found


async def list_known_tests(connection: Connection, test_ids: Sequence[str]) -> set[str]:
    """Return those of `test_ids` that exist."""
    return {
        row["test_id"] for row in await connection.fetch(STATEMENTS["list_known_tests"].sql, list(test_ids))
    }
