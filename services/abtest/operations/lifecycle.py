"""Starting, pausing, resuming and archiving tests, by request and by the clock."""

from collections.abc import Callable
from datetime import datetime, timedelta

from services.abtest.domain.changes import ChangeNote, DefinedTest, compare_states, describe_test
from services.abtest.domain.lifecycle import (
    Action,
    archive_test,
    check_times,
    end_test,
    pause_test,
    resume_test,
    start_test,
)
from services.abtest.domain.model import ABTest, Status
from services.abtest.operations.lookup import define, lock_test
from services.abtest.store import changes, definitions
from services.common.database import Connection, Database

BY_SCHEDULE = ChangeNote(actor="schedule", comment="its time has come")
"""Who starts and ends a test whose time has come."""
RESULT_TIME = timedelta(seconds=120)
"""How long an end may take until its result is kept; then the process that was at it is lost."""


class LifecycleOperations:
    """Takes tests from one status to another; each step is in the audit log.

    Args:
        database: the service's own.
        now: the clock; aware times.
    """

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def start_test(self, test_id: str, note: ChangeNote) -> DefinedTest:
        """Start a draft, or schedule it where its start time is to come; start a scheduled test now.

        Raises:
            NotFoundError: there is no such test.
            FailedPreconditionError: it has started, or is archived.
            InvalidArgumentError: its end time has gone by.
        """

        def start(test: ABTest, now: datetime) -> ABTest:
            started = start_test(test, now)
            check_times(started, now)
            return started

        return await self._take(test_id, note, start)

    async def pause_test(self, test_id: str, note: ChangeNote) -> DefinedTest:
        """Stop enrolling users of a running test.

        Raises:
            NotFoundError: there is no such test.
            FailedPreconditionError: it is not running.
        """
        return await self._take(test_id, note, lambda test, _now: pause_test(test), Action.PAUSE)

    async def resume_test(self, test_id: str, note: ChangeNote) -> DefinedTest:
        """Go on enrolling users of a paused test.

        Raises:
            NotFoundError: there is no such test.
            FailedPreconditionError: it is not paused.
        """
        return await self._take(test_id, note, lambda test, _now: resume_test(test), Action.RESUME)

    async def archive_test(self, test_id: str, note: ChangeNote) -> DefinedTest:
        """Take a test that is over, or never began, out of the history.

        Raises:
            NotFoundError: there is no such test.
            FailedPreconditionError: it is running or paused, or archived already.
        """
        return await self._take(test_id, note, lambda test, _now: archive_test(test), Action.ARCHIVE)

    async def start_due(self) -> int:
        """Start the scheduled tests whose time has come; return how many were."""
        async with self._database.acquire() as connection:
            due = await definitions.list_due_starts(connection, self._now())
        return sum([await self._start_due(test_id) for test_id in due])

    async def _start_due(self, test_id: str) -> bool:
        """Start a test whose time has come, unless it was; one whose end has come too is ended next."""
        async with self._database.transaction() as connection:
            test = await lock_test(connection, test_id)
            if test.status is not Status.SCHEDULED:
                return False
            now = self._now()
            await keep_change(
                connection, test, start_test(test, now), note=BY_SCHEDULE, action=Action.START, now=now
            )
            return True

    async def list_due_ends(self) -> list[str]:
        """Return the tests whose time is over, and those that ended a while ago without a final result."""
        now = self._now()
        async with self._database.acquire() as connection:
            return await definitions.list_due_ends(connection, now, now - RESULT_TIME)

    async def _take(
        self,
        test_id: str,
        note: ChangeNote,
        step: Callable[[ABTest, datetime], ABTest],
        action: Action | None = None,
    ) -> DefinedTest:
        async with self._database.transaction() as connection:
            test = await lock_test(connection, test_id)
            now = self._now()
            taken = step(test, now)
            started = Action.SCHEDULE if taken.status is Status.SCHEDULED else Action.START
            return await keep_change(connection, test, taken, note=note, action=action or started, now=now)


async def close_test(connection: Connection, test_id: str, *, note: ChangeNote, now: datetime) -> ABTest:
    """Return a test ended, after the assignments under way; later ones see that it has.

    One that has ended stays as it is, archived or not.

    Raises:
        NotFoundError: there is no such test.
        FailedPreconditionError: it has never begun.
    """
    test = await lock_test(connection, test_id)
    if test.ended_at is not None:
        return test
    kept = await keep_change(connection, test, end_test(test, now), note=note, action=Action.END, now=now)
    return kept.test


async def keep_change(
    connection: Connection,
    before: ABTest,
    after: ABTest,
    *,
    note: ChangeNote,
    action: Action,
    now: datetime,
) -> DefinedTest:
    """Keep a locked test as it is from now on, and in the audit log what is different."""
    defined = await define(connection, before)
    changed = DefinedTest(test=after, rules=defined.rules, bandit=defined.bandit)
    await definitions.update_test(connection, after)
    await changes.insert_change(
        connection,
        after.test_id,
        changed_at=now,
        note=note,
        action=action,
        differences=compare_states(describe_test(defined), describe_test(changed)),
    )
    return changed
