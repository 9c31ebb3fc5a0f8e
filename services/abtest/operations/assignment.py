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

COUNTER_SLOTS: Final = 16


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

        A first assignment stays whatever happens to weights, coverage or the test. An unknown test is a
        NotFoundError in the place of its outcomes. One transaction, and one insert, for all.
        """
        wanted = sorted(set(keys))
        async with self._database.transaction() as connection:
            kept = await assignments.list_assignments(connection, wanted)
            unassigned = [key for key in wanted if key not in kept]
            refused = await self._assign_first(connection, unassigned, kept) if unassigned else {}
        return [AssignmentOutcome(assignment=kept[key]) if key in kept else refused[key] for key in keys]

    async def assign_batch(self, test_id: str, user_ids: Sequence[str]) -> list[AssignmentOutcome]:
        """Return the outcome of each user of one test, in order, after all of them are durable.

        Raises:
            NotFoundError: there is no such test.
        """
        outcomes = await self.assign_users([(test_id, user_id) for user_id in user_ids])
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, AssignmentOutcome)]

    async def _assign_first(
        self, connection: Connection, keys: Sequence[AssignmentKey], kept: dict[AssignmentKey, Assignment]
    ) -> dict[AssignmentKey, AssignmentOutcome | Exception]:
        """Add the first assignments of `keys` to `kept`; return what stays without one."""
        tests = await enrolment.share_enrolments(connection, sorted({test_id for test_id, _ in keys}))
        segments = await _list_segments(connection, keys, tests)
        now = self._now()
        placed: dict[AssignmentKey, Assignment] = {}
        refused: dict[AssignmentKey, AssignmentOutcome | Exception] = {}
        for key in keys:
            outcome = place(tests.get(key[0]), key, segments.get(key[1], ()), now)
            if isinstance(outcome, Assignment):
                placed[key] = outcome
            else:
                refused[key] = outcome
        if placed:
            added = await assignments.insert_assignments(
                connection, list(placed.values()), assigned_at=now, slot=self._slot
            )
            overtaken = [key for key in placed if key not in added]
            kept.update((key, placed[key]) for key in added)
            if overtaken:  # by a concurrent transaction, which has committed by now
                kept.update(await assignments.list_assignments(connection, overtaken))
        return refused

    async def fetch_assignment(self, test_id: str, user_id: str) -> Assignment | None:
        """Return a user's assignment, None where there is none; never assigns.

        Raises:
            NotFoundError: there is no such test.
        """
        async with self._database.transaction(readonly=True) as connection:
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
