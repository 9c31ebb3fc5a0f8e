"""What tests show; every analysis is kept as it was given, the one at a test's end as its result."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.abtest.domain.analysis import Analysis, KeptAnalysis, analyze
from services.abtest.domain.changes import ChangeNote
from services.abtest.domain.lifecycle import require_started
from services.abtest.domain.model import ABTest
from services.abtest.domain.outcomes import Outcomes
from services.abtest.domain.sample_ratio_scopes import SEGMENT
from services.abtest.operations.lifecycle import close_test
from services.abtest.operations.lookup import require_test
from services.abtest.operations.outcomes import Breakdowns, gather_outcomes
from services.abtest.store import results
from services.common.database import Database
from services.common.waiting_room import WaitingRoom

ANALYSES_AT_ONCE: Final = 2
"""Analyses that hold a connection; each may take seconds, and assignments need the others."""
MOST_WAITING: Final = 100
NOTHING = Breakdowns()
EVERYTHING = Breakdowns(by_segment=True, by_day=True)
"""What a final result is broken down by, since nobody can ask again later."""


@dataclass(frozen=True, kw_only=True)
class AnalysisRequest:
    """What to say beside the comparisons; `yates` corrects p-values of rates for continuity."""

    breakdowns: Breakdowns = NOTHING
    yates: bool = False


@dataclass(frozen=True, kw_only=True)
class ResultsPage:
    """Kept analyses, the newest first; `next_before` starts the next page."""

    results: tuple[KeptAnalysis, ...]
    next_before: int | None


class AnalysisOperations:
    """Analyzes tests, and ends them.

    Args:
        database: the service's own.
        now: the clock; aware times.
    """

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._room = WaitingRoom("analyses", at_once=ANALYSES_AT_ONCE, waiting=MOST_WAITING)

    async def analyze_test(self, test_id: str, request: AnalysisRequest) -> tuple[ABTest, KeptAnalysis]:
        """Return what a running test shows by now, or the result that was kept of an ended one.

        Raises:
            NotFoundError: there is no such test.
            FailedPreconditionError: it has never begun.
            ResourceExhaustedError: too many analyses wait.
        """
        async with self._room.turn():
            return await self._analyze(test_id, request)

    async def _analyze(self, test_id: str, request: AnalysisRequest) -> tuple[ABTest, KeptAnalysis]:
        now = self._now()
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            test = await require_test(connection, test_id)
            require_started(test)
            kept = await results.list_final_results(connection, [test])
            if test_id in kept:
                return test, _without(kept[test_id], request.breakdowns)
            outcomes = await gather_outcomes(connection, test, request.breakdowns, as_of=now)
        return test, await self._keep(test, outcomes, analyzed_at=now, yates=request.yates, is_final=False)

    async def end_test(self, test_id: str, note: ChangeNote) -> tuple[ABTest, KeptAnalysis]:
        """End a test and keep its final result; of an ended test, return the result that was kept.

        Several transactions, so that assignments wait only for the first: a process that dies between them
        leaves an ended test without a result, which the next call gives it.

        Raises:
            NotFoundError: there is no such test.
            FailedPreconditionError: it has never begun.
            ResourceExhaustedError: too many analyses wait; the test has ended nevertheless.
        """
        async with self._database.transaction() as connection:
            await close_test(connection, test_id, note=note, now=self._now())
        async with self._room.turn():
            return await self._conclude(test_id)

    async def _conclude(self, test_id: str) -> tuple[ABTest, KeptAnalysis]:
        now = self._now()
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            test = await require_test(connection, test_id)
            kept = await results.list_final_results(connection, [test])
            if test_id in kept:
                return test, kept[test_id]
            outcomes = await gather_outcomes(connection, test, EVERYTHING, as_of=now)
        return test, await self._keep(test, outcomes, analyzed_at=now, yates=False, is_final=True)

    async def list_results(self, test_id: str, *, before: int, limit: int) -> tuple[ABTest, ResultsPage]:
        """Return at most `limit` kept analyses of a test with numbers under `before`, the newest first.

        Raises:
            NotFoundError: there is no such test.
        """
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            test = await require_test(connection, test_id)
            found = await results.list_results(connection, test, before=before, limit=limit + 1)
        return test, ResultsPage(
            results=tuple(found[:limit]), next_before=found[limit - 1].number if len(found) > limit else None
        )

    async def _keep(
        self, test: ABTest, outcomes: Outcomes, *, analyzed_at: datetime, yates: bool, is_final: bool
    ) -> KeptAnalysis:
        """Return the analysis of these outcomes, kept; outcomes as the last time are the same analysis.

        One at a time for each test, so that looks are taken in their order. Where another call has kept the
        final result by now, it is returned. In a thread, because many segments or weight epochs take seconds,
        in which the event loop has assignments to answer.
        """
        fingerprint = results.fingerprint_outcomes(outcomes, yates=yates)
        async with self._database.transaction() as connection:
            await results.lock_results(connection, test.test_id)
            final = await results.list_final_results(connection, [test])
            if test.test_id in final:
                return final[test.test_id]
            same = None if is_final else await results.fetch_same_result(connection, test, fingerprint)
            if same is not None:
                return same
            analysis = await asyncio.to_thread(
                analyze,
                test.design,
                outcomes,
                ended=test.ended_at is not None,
                elapsed=analyzed_at - (test.started_at or test.created_at),
                looks=await results.list_looks(connection, test.test_id),
                yates=yates,
            )
            return await results.insert_result(
                connection,
                test.test_id,
                analysis,
                analyzed_at=analyzed_at,
                fingerprint=fingerprint,
                is_final=is_final,
            )


def _without(kept: KeptAnalysis, asked: Breakdowns) -> KeptAnalysis:
    """Return a kept analysis less the breakdowns that nobody asked for."""
    analysis: Analysis = kept.analysis
    if not asked.by_segment:
        analysis = replace(
            analysis,
            segments=None,
            sample_ratios=tuple(each for each in analysis.sample_ratios if each.scope != SEGMENT),
            past=tuple(each for each in analysis.past if each.segment is None),
        )
    if not asked.by_day:
        analysis = replace(analysis, days=None)
    return replace(kept, analysis=analysis)
