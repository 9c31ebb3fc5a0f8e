"""Tests that show the same campaigns, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations

from services.abtest.domain.analysis import KeptAnalysis
from services.abtest.domain.model import ABTest
from services.abtest.domain.overlaps import Overlap, SharedUsers, TestSpan, find_overlap
from services.abtest.operations.campaigns import require_campaigns
from services.abtest.operations.lookup import require_test
from services.abtest.store import definitions, overlaps, results
from services.common.database import Connection, Database

NOT_YET = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class ComparedTest:
    """A test beside others, with its groups' users and its final result (None before its end)."""

    test: ABTest
    users: tuple[int, ...]
    result: KeptAnalysis | None


@dataclass(frozen=True, kw_only=True)
class OverlapView:
    """The newest tests that show some campaign, what every two of them share, and whether there are more."""

    tests: tuple[ComparedTest, ...]
    overlaps: tuple[Overlap, ...]
    more: bool


class OverlapOperations:
    """Compares tests of the same campaigns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_of_campaign(self, campaign_id: str, limit: int) -> OverlapView:
        """Return the tests that show a campaign.

        Raises:
            NotFoundError: the catalog lacks the campaign.
        """
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            await require_campaigns(connection, {"campaign_id": campaign_id})
            return await _compare(connection, (campaign_id,), limit)

    async def list_of_test(self, test_id: str, limit: int) -> OverlapView:
        """Return the tests that show a campaign of this one.

        Raises:
            NotFoundError: there is no such test.
        """
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            test = await require_test(connection, test_id)
            campaign_ids = tuple(group.campaign_id for group in test.design.groups)
            return await _compare(connection, campaign_ids, limit)


async def _compare(connection: Connection, campaign_ids: Sequence[str], limit: int) -> OverlapView:
    test_ids = await overlaps.list_tests_of_campaigns(connection, campaign_ids, limit + 1)
    shown = test_ids[:limit]
    known = await definitions.list_tests_by_id(connection, shown)
    tests = [known[test_id] for test_id in shown]
    users = await overlaps.list_users_of_tests(connection, shown)
    kept = await results.list_final_results(connection, tests)
    compared = tuple(
        ComparedTest(
            test=test,
            users=tuple(
                users.get(test.test_id, {}).get(index, 0) for index in range(len(test.design.groups))
            ),
            result=kept.get(test.test_id),
        )
        for test in tests
    )
    shared = await overlaps.count_shared_users(connection, shown)
    return OverlapView(
        tests=compared, overlaps=tuple(_find_overlaps(compared, shared)), more=len(test_ids) > limit
    )


def _find_overlaps(
    compared: Sequence[ComparedTest], shared: dict[overlaps.TestPair, dict[tuple[int, int], int]]
) -> list[Overlap]:
    """Return what every two tests share, those that started last first."""
    found = []
    spans = sorted(
        (_span(each) for each in compared),
        key=lambda span: (span.start or NOT_YET, span.test_id),
    )
    for first, second in combinations(spans, 2):
        overlap = find_overlap(first, second, _cells(first, second, shared))
        if overlap is not None:
            found.append(overlap)
    return found[::-1]


def _cells(
    first: TestSpan, second: TestSpan, shared: dict[overlaps.TestPair, dict[tuple[int, int], int]]
) -> SharedUsers:
    if first.test_id < second.test_id:
        return shared.get((first.test_id, second.test_id), {})
    turned = shared.get((second.test_id, first.test_id), {})
    return {(row, column): users for (column, row), users in turned.items()}


def _span(compared: ComparedTest) -> TestSpan:
    test = compared.test
    return TestSpan(
        test_id=test.test_id,
        campaign_ids=tuple(group.campaign_id for group in test.design.groups),
        start=test.started_at,
        end=test.ended_at,
        users=compared.users,
    )
