"""What tests show, and the result that is kept at their end."""

from collections.abc import Callable
from datetime import datetime

from services.abtest.domain.analysis import Analysis, analyze
from services.abtest.domain.changes import ChangeNote
from services.abtest.domain.lifecycle import require_started
from services.abtest.domain.model import ABTest, DecisionMethod
from services.abtest.operations.lifecycle import close_test
from services.abtest.operations.lookup import require_test
from services.abtest.store import outcomes, results
from services.common.database import Connection, Database


class AnalysisOperations:
    """Analyzes tests, and ends them.

    Args:
        database: the service's own.
        now: the clock; aware times.
    """

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def analyze_test(self, test_id: str) -> tuple[ABTest, Analysis]:
        """Return what a running test shows by now, or the result that was kept of an ended one.

        Raises:
            NotFoundError: there is no such test.
        """
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            test = await require_test(connection, test_id)
            require_started(test)
            kept = await results.list_final_results(connection, [test])
            analysis = kept.get(test_id) or await _analyze(connection, test)
        return test, analysis

    async def end_test(self, test_id: str, note: ChangeNote) -> tuple[ABTest, Analysis]:
        """End a test and keep its final result; of an ended test, return the result that was kept.

        Two transactions, so that assignments wait only for the first: a process that dies between them
        leaves an ended test without a result, which the next call gives it.

        Raises:
            NotFoundError: there is no such test.
            FailedPreconditionError: it has never begun.
        """
        async with self._database.transaction() as connection:
            await close_test(connection, test_id, note=note, now=self._now())
        async with self._database.transaction() as connection:
            test = await require_test(connection, test_id)
            kept = await results.list_final_results(connection, [test])
            if test_id not in kept:
                analysis = await _analyze(connection, test)
                await results.insert_final_result(connection, test_id, analysis, self._now())
                kept = await results.list_final_results(connection, [test])
        return test, kept[test_id]


async def _analyze(connection: Connection, test: ABTest) -> Analysis:
    epochs = await outcomes.list_outcomes(connection, test.test_id, len(test.design.groups))
    horizon = None
    if test.design.decision_method is DecisionMethod.FIXED_HORIZON:
        reached_at = await outcomes.fetch_horizon(connection, test.test_id, test.design.target_sample_size)
        if reached_at is not None:
            cohort = await outcomes.list_outcomes(
                connection, test.test_id, len(test.design.groups), assigned_until=reached_at
            )
            horizon = cohort if cohort != epochs else None
    return analyze(test.design, epochs, ended=not test.is_active, horizon=horizon)
