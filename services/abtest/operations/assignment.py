"""Who gets which group: the first assignment, and looking it up."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.abtest.domain.assignment import place_user
from services.abtest.domain.enrolment import Enrolment, NotEnrolled
from services.abtest.domain.model import Assignment
from services.abtest.operations.lookup import require_test, unknown_test
from services.abtest.store import assignments, enrolment
from services.abtest.store.assignments import AssignmentKey
from services.common.database import Connection, Database
from services.common.errors import AbortedError

COUNTER_SLOTS: Final = 16
_MOST_ATTEMPTS: Final = 10


@dataclass(frozen=True, kw_only=True)
class AssignmentOutcome:
    """A user's assignment, or why there is none."""

    assignment: Assignment | None = None
    reason: NotEnrolled | None = None


class AssignmentOperations:
    """Assigns users, and tells what they were assigned to.

    Args:
        database: the service's own.
        now: the clock; aware times.
        slot: which of the `COUNTER_SLOTS` this process counts in; replicas should differ.
    """

    def __init__(self, database: Database, *, now: Callable[[], datetime], slot: int) -> None:
        self._database = database
        self._now = now
        self._slot = slot

    async def assign_users(self, keys: Sequence[AssignmentKey]) -> list[AssignmentOutcome | Exception]:
        """Return the outcome of each (test_id, user_id), in order, after all of them are durable.

        A first assignment stays whatever happens to weights, coverage or the test. In the place of outcomes,
        an unknown test has a NotFoundError, and one that keeps changing an AbortedError. All that are new are
        one insert, which is a transaction of its own and looks once more whether their tests still enrol, by
        the same weights.
        """
        wanted = sorted(set(keys))
        settled: dict[AssignmentKey, AssignmentOutcome | Exception] = {}
        async with self._database.acquire() as connection:
            for _ in range(_MOST_ATTEMPTS):
                await self._settle(connection, [key for key in wanted if key not in settled], settled)
                if len(settled) == len(wanted):
                    break
        given_up = AbortedError("a test kept changing; send the request again", reason="CONCURRENT_UPDATE")
        return [settled.get(key, given_up) for key in keys]

    async def assign_batch(self, test_id: str, user_ids: Sequence[str]) -> list[AssignmentOutcome]:
        """Return the outcome of each user of one test, in order, after all of them are durable.

        Raises:
            NotFoundError: there is no such test.
            AbortedError: it kept changing in between.
        """
        outcomes = await self.assign_users([(test_id, user_id) for user_id in user_ids])
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, AssignmentOutcome)]

    async def _settle(
        self,
        connection: Connection,
        keys: Sequence[AssignmentKey],
        settled: dict[AssignmentKey, AssignmentOutcome | Exception],
    ) -> None:
        """Add to `settled` what becomes of `keys`, but for those that were overtaken by concurrent work."""
        for key, assignment in (await assignments.list_assignments(connection, keys)).items():
            settled[key] = AssignmentOutcome(assignment=assignment)
        new = [key for key in keys if key not in settled]
        if not new:
            return
        tests = await enrolment.list_enrolments(connection, sorted({test_id for test_id, _ in new}))
        segments = await _list_segments(connection, new, tests)
        now = self._now()
        placed: dict[AssignmentKey, Assignment] = {}
        for key in new:
            outcome = place(tests.get(key[0]), key, segments.get(key[1], ()), now)
            if isinstance(outcome, Assignment):
                placed[key] = outcome
            else:
                settled[key] = outcome
        if placed:
            added = await assignments.insert_assignments(
                connection, list(placed.values()), assigned_at=now, slot=self._slot
            )
            settled.update((key, AssignmentOutcome(assignment=placed[key])) for key in added)

    async def fetch_assignment(self, test_id: str, user_id: str) -> Assignment | None:
        """Return a user's assignment, None where there is none; never assigns.

        Raises:
            NotFoundError: there is no such test.
        """
        async with self._database.acquire() as connection:
            kept = await assignments.list_assignments(connection, [(test_id, user_id)])
            if not kept:
                await require_test(connection, test_id)
        return kept.get((test_id, user_id))


async def _list_segments(
    connection: Connection, keys: Sequence[AssignmentKey], tests: Mapping[str, Enrolment]
) -> Mapping[str, Sequence[str]]:
    """Return the segments of the users for whose tests they matter."""
    targeted = {test_id for test_id, test in tests.items() if test.needs_segments}
    users = {user_id for test_id, user_id in keys if test_id in targeted}
    return await enrolment.list_user_segments(connection, sorted(users)) if users else {}


def place(
    test: Enrolment | None, key: AssignmentKey, segments: Sequence[str], now: datetime
) -> Assignment | AssignmentOutcome | Exception:
    """Return the first assignment of a (test_id, user_id), or why there is none."""
    if test is None:
        return unknown_test(key[0])
    placement = place_user(test, key[1], segments, now)
    if placement.group_index is None or placement.propensity is None:
        return AssignmentOutcome(reason=placement.reason)
    return Assignment(
        test_id=key[0],
        user_id=key[1],
        group_index=placement.group_index,
        group=test.groups[placement.group_index],
        epoch=test.epoch.number,
        propensity=placement.propensity,
        assigned_at=now,
    )
