"""Statements of what tests share."""

from collections import defaultdict
from collections.abc import Sequence

from services.abtest.store.statements import STATEMENTS, Connection

TestPair = tuple[str, str]
"""Two test_ids, the lesser first."""


async def list_tests_of_campaigns(
    connection: Connection, campaign_ids: Sequence[str], limit: int
) -> list[str]:
    """Return the newest tests that show one of the campaigns."""
    rows = await connection.fetch(STATEMENTS["list_tests_of_campaigns"].sql, list(campaign_ids), limit)
    return [row["test_id"] for row in rows]


async def count_shared_users(
    connection: Connection, test_ids: Sequence[str]
) -> dict[TestPair, dict[tuple[int, int], int]]:
    """Return, for every two tests that share users, how many by their groups' indexes."""
    found: dict[TestPair, dict[tuple[int, int], int]] = defaultdict(dict)
    for row in await connection.fetch(STATEMENTS["count_shared_users"].sql, list(test_ids)):
        groups = (row["first_group_index"], row["second_group_index"])
        found[row["first_test_id"], row["second_test_id"]][groups] = row["users"]
    return dict(found)


async def list_users_of_tests(connection: Connection, test_ids: Sequence[str]) -> dict[str, dict[int, int]]:
    """Return the assigned users of each test by group index; groups without users are left out."""
    found: dict[str, dict[int, int]] = defaultdict(dict)
    for row in await connection.fetch(STATEMENTS["list_users_of_tests"].sql, list(test_ids)):
        found[row["test_id"]][row["group_index"]] = row["users"]
    return dict(found)
