"""Tests of the past and present."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from services.abtest.domain.analysis import KeptAnalysis
from services.abtest.domain.history import HistoryFilters
from services.abtest.domain.model import ABTest
from services.abtest.store import definitions, results
from services.common.database import Database

AFTER_EVERYTHING: Final = (datetime.max.replace(tzinfo=UTC), "")
"""Where the first page of the history starts."""


@dataclass(frozen=True, kw_only=True)
class HistoryPage:
    """Tests with their final results (None while a test runs); `next_before` starts the next page."""

    tests: tuple[tuple[ABTest, KeptAnalysis | None], ...]
    next_before: tuple[datetime, str] | None


class HistoryOperations:
    """Lists tests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_tests(
        self, filters: HistoryFilters, *, before: tuple[datetime, str] | None, limit: int
    ) -> HistoryPage:
        """Return at most `limit` tests that pass the filters, the newest first, after the one of `before`."""
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            tests = await definitions.list_tests(connection, filters, before or AFTER_EVERYTHING, limit + 1)
            kept = await results.list_final_results(connection, tests[:limit])
        more = len(tests) > limit
        return HistoryPage(
            tests=tuple((test, kept.get(test.test_id)) for test in tests[:limit]),
            next_before=(tests[limit - 1].created_at, tests[limit - 1].test_id) if more else None,
        )
