"""The use cases of A/B tests: load, decide, save. Transactions and the clock are here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from services.abtest.domain.analysis import Analysis, analyze
from services.abtest.domain.assignment import NotEnrolled, place_user
from services.abtest.domain.model import (
    ABTest,
    Assignment,
    DecisionMethod,
    Status,
    TestDesign,
    WeightEpoch,
)
from services.abtest.domain.power import required_sample_size_per_group
from services.abtest.domain.progress import TestProgress, measure_progress
from services.abtest.store import REQUEST_ID_CONSTRAINT, AssignmentKey, Store
from services.common.database import Database
from services.common.errors import (
    AlreadyExistsError,
    ConstraintViolation,
    DomainError,
    FieldViolation,
    NotFoundError,
    invalid_field,
)

COUNTER_SLOTS: Final = 16
LARGEST_SAMPLE_SIZE: Final = 10**12
AFTER_EVERYTHING: Final = (datetime.max.replace(tzinfo=UTC), "")
"""Where the first page of the history starts."""


@dataclass(frozen=True, kw_only=True)
class NewTest:
    """A test that is asked for; its design's seed is empty where the test_id shall be the seed."""

    design: TestDesign
    weights: tuple[float, ...]
    coverage: float
    request_id: str | None


@dataclass(frozen=True, kw_only=True)
class AssignmentOutcome:
    """A user's assignment, or why there is none."""

    assignment: Assignment | None = None
    reason: NotEnrolled | None = None


@dataclass(frozen=True, kw_only=True)
class HistoryPage:
    """Tests with their final results (None while a test runs); `next_before` starts the next page."""

    tests: tuple[tuple[ABTest, Analysis | None], ...]
    next_before: tuple[datetime, str] | None


class TestOperations:
    """The use cases over one database.

    Args:
        database: the service's own.
        now: the clock; aware times.
        new_test_id: makes a test_id that no test has.
        slot: which of the `COUNTER_SLOTS` this process counts in; replicas should differ.
    """

    __test__ = False  # no test case, whatever its name says to pytest

    def __init__(
        self, database: Database, *, now: Callable[[], datetime], new_test_id: Callable[[], str], slot: int
    ) -> None:
        self._database = database
        self._now = now
        self._new_test_id = new_test_id
        self._slot = slot

    async def create_test(self, wanted: NewTest) -> ABTest:
        """Create a running test, or return the one that the same request created before.

        Raises:
            AlreadyExistsError: the request_id created a test with other content.
            NotFoundError: the catalog lacks a campaign.
        """
        try:
            async with self._database.transaction() as connection:
                store = Store(connection)
                earlier = await _fetch_earlier(store, wanted)
                if earlier is not None:
                    return earlier
                await _require_campaigns(store, wanted.design)
                test = self._build_test(wanted)
                await store.insert_test(test, wanted.request_id)
                return test
        except ConstraintViolation as violation:
            if violation.constraint != REQUEST_ID_CONSTRAINT:
                raise
        # The same request was handled concurrently, and has committed.
        async with self._database.transaction(readonly=True) as connection:
            earlier = await _fetch_earlier(Store(connection), wanted)
        if earlier is None:
            raise NotFoundError("the test of this request is gone", reason="TEST_UNKNOWN")
        return earlier

    def _build_test(self, wanted: NewTest) -> ABTest:
        test_id = self._new_test_id()
        return ABTest(
            test_id=test_id,
            design=replace(wanted.design, seed=wanted.design.seed or test_id),
            status=Status.RUNNING,
            epoch=WeightEpoch(number=1, weights=wanted.weights, coverage=wanted.coverage),
            created_at=self._now(),
            ended_at=None,
        )

    async def assign_users(self, keys: Sequence[AssignmentKey]) -> list[AssignmentOutcome | Exception]:
        """Return the outcome of each (test_id, user_id), in order, after all of them are durable.

        A first assignment stays whatever happens to weights, coverage or the test. An unknown test is a
        NotFoundError in the place of its outcomes. One transaction, and one insert, for all.
        """
        wanted = sorted(set(keys))
        async with self._database.transaction() as connection:
            store = Store(connection)
            kept = await store.list_assignments(wanted)
            unassigned = [key for key in wanted if key not in kept]
            refused = await self._assign_first(store, unassigned, kept) if unassigned else {}
        return [AssignmentOutcome(assignment=kept[key]) if key in kept else refused[key] for key in keys]

    async def _assign_first(
        self, store: Store, keys: Sequence[AssignmentKey], kept: dict[AssignmentKey, Assignment]
    ) -> dict[AssignmentKey, AssignmentOutcome | Exception]:
        """Add the first assignments of `keys` to `kept`; return what stays without one."""
        tests = await store.share_tests(sorted({test_id for test_id, _ in keys}))
        now = self._now()
        placed: dict[AssignmentKey, Assignment] = {}
        refused: dict[AssignmentKey, AssignmentOutcome | Exception] = {}
        for key in keys:
            outcome = _place(tests.get(key[0]), key, now)
            if isinstance(outcome, Assignment):
                placed[key] = outcome
            else:
                refused[key] = outcome
        if placed:
            added = await store.insert_assignments(list(placed.values()), assigned_at=now, slot=self._slot)
            overtaken = [key for key in placed if key not in added]
            kept.update((key, placed[key]) for key in added)
            if overtaken:  # by a concurrent transaction, which has committed by now
                kept.update(await store.list_assignments(overtaken))
        return refused

    async def fetch_assignment(self, test_id: str, user_id: str) -> Assignment | None:
        """Return a user's assignment, None where there is none; never assigns.

        Raises:
            NotFoundError: there is no such test.
        """
        async with self._database.transaction(readonly=True) as connection:
            store = Store(connection)
            kept = await store.list_assignments([(test_id, user_id)])
            if not kept:
                await _require_test(store, test_id)
        return kept.get((test_id, user_id))

    async def fetch_progress(self, test_id: str) -> TestProgress:
        """Return how far a test is, at a cost that its size does not change.

        Raises:
            NotFoundError: there is no such test.
        """
        async with self._database.transaction(readonly=True) as connection:
            store = Store(connection)
            test = await _require_test(store, test_id)
            counted = await store.list_group_users(test_id)
        users = tuple(counted.get(index, 0) for index in range(len(test.design.groups)))
        return measure_progress(test, users)

    async def analyze_test(self, test_id: str) -> tuple[ABTest, Analysis]:
        """Return what a running test shows by now, or the result that was kept of an ended one.

        Raises:
            NotFoundError: there is no such test.
        """
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            store = Store(connection)
            test = await _require_test(store, test_id)
            kept = await store.list_final_results([test])
            analysis = kept.get(test_id) or await _analyze(store, test)
        return test, analysis

    async def end_test(self, test_id: str) -> tuple[ABTest, Analysis]:
        """End a test and keep its final result; of an ended test, return the result that was kept.

        Two transactions, so that assignments wait only for the first: a process that dies between them
        leaves an ended test without a result, which the next call gives it.

        Raises:
            NotFoundError: there is no such test.
        """
        async with self._database.transaction() as connection:
            await Store(connection).end_test(test_id, self._now())
        async with self._database.transaction() as connection:
            store = Store(connection)
            test = await _require_test(store, test_id)
            kept = await store.list_final_results([test])
            if test_id not in kept:
                analysis = await _analyze(store, test)
                await store.insert_final_result(test_id, analysis, self._now())
                kept = await store.list_final_results([test])
        return test, kept[test_id]

    async def list_tests(self, *, before: tuple[datetime, str] | None, limit: int) -> HistoryPage:
        """Return at most `limit` tests, the newest first, after the one that `before` names."""
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            store = Store(connection)
            tests = await store.list_tests(before or AFTER_EVERYTHING, limit + 1)
            results = await store.list_final_results(tests[:limit])
        more = len(tests) > limit
        return HistoryPage(
            tests=tuple((test, results.get(test.test_id)) for test in tests[:limit]),
            next_before=(tests[limit - 1].created_at, tests[limit - 1].test_id) if more else None,
        )


def estimate_sample_size(
    *,
    baseline_conversion_rate: float,
    minimum_detectable_effect: float,
    confidence_level: float,
    power: float,
) -> int:
    """Return the users per group that find a relative effect with `power`.

    Raises:
        InvalidArgumentError: more users than anybody has.
    """
    try:
        size = required_sample_size_per_group(
            control_rate=baseline_conversion_rate,
            variant_rate=baseline_conversion_rate * (1.0 + minimum_detectable_effect),
            confidence_level=confidence_level,
            power=power,
        )
    except OverflowError:  # more than a double holds
        size = LARGEST_SAMPLE_SIZE + 1
    if size > LARGEST_SAMPLE_SIZE:
        raise invalid_field(
            "minimum_detectable_effect",
            f"is so small that more than {LARGEST_SAMPLE_SIZE} users per group were needed",
            "EFFECT_TOO_SMALL",
        )
    return size


async def _fetch_earlier(store: Store, wanted: NewTest) -> ABTest | None:
    """Return the test that this request created; raise where its content was another."""
    earlier = await store.fetch_request(wanted.request_id) if wanted.request_id else None
    if earlier is None:
        return None
    test_id, epoch = earlier
    test = await _require_test(store, test_id)
    design = replace(wanted.design, seed=wanted.design.seed or test_id)
    if test.design != design or (epoch.weights, epoch.coverage) != (wanted.weights, wanted.coverage):
        raise AlreadyExistsError(
            f"request_id: created test {test_id} with other content",
            reason="REQUEST_ID_CONFLICT",
            violations=[FieldViolation(field="request_id", description="was used with other content")],
            metadata={"test_id": test_id},
        )
    return test


async def _require_campaigns(store: Store, design: TestDesign) -> None:
    known = await store.list_known_campaigns([group.campaign_id for group in design.groups])
    unknown = [
        FieldViolation(field=f"{group.name}_campaign_id", description=f"no campaign {group.campaign_id!r}")
        for group in design.groups
        if group.campaign_id not in known
    ]
    if unknown:
        raise NotFoundError(
            "; ".join(f"{violation.field}: {violation.description}" for violation in unknown),
            reason="CAMPAIGN_UNKNOWN",
            violations=unknown,
        )


async def _require_test(store: Store, test_id: str) -> ABTest:
    tests = await store.list_tests_by_id([test_id])
    if test_id not in tests:
        raise _unknown_test(test_id)
    return tests[test_id]


def _unknown_test(test_id: str) -> DomainError:
    return NotFoundError(
        f"test_id: no test {test_id!r}",
        reason="TEST_UNKNOWN",
        violations=[FieldViolation(field="test_id", description="no such test")],
        metadata={"test_id": test_id},
    )


def _place(
    test: ABTest | None, key: AssignmentKey, now: datetime
) -> Assignment | AssignmentOutcome | Exception:
    if test is None:
        return _unknown_test(key[0])
    placement = place_user(test, key[1])
    if placement.group_index is None or placement.propensity is None:
        return AssignmentOutcome(reason=placement.reason)
    return Assignment(
        test_id=key[0],
        user_id=key[1],
        group_index=placement.group_index,
        group=test.design.groups[placement.group_index],
        epoch=test.epoch.number,
        propensity=placement.propensity,
        assigned_at=now,
    )


async def _analyze(store: Store, test: ABTest) -> Analysis:
    epochs = await store.list_outcomes(test.test_id, len(test.design.groups))
    horizon = None
    if test.design.decision_method is DecisionMethod.FIXED_HORIZON:
        reached_at = await store.fetch_horizon(test.test_id, test.design.target_sample_size)
        if reached_at is not None:
            cohort = await store.list_outcomes(
                test.test_id, len(test.design.groups), assigned_until=reached_at
            )
            horizon = cohort if cohort != epochs else None
    return analyze(test.design, epochs, ended=not test.is_active, horizon=horizon)
