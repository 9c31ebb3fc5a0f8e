"""Changing tests, and the log of their changes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import zip_longest
from typing import Final

from services.abtest.domain.assignment import check_reachable
from services.abtest.domain.changes import (
    Change,
    ChangeNote,
    DefinedTest,
    compare_states,
    describe_test,
)
from services.abtest.domain.lifecycle import BEFORE_START, Action, check_times, require_not_over
from services.abtest.domain.model import ABTest, TestDesign, WeightEpoch
from services.abtest.operations.lookup import define, lock_test, require_test
from services.abtest.store import changes, definitions
from services.abtest.store.enrolment import upsert_targeting
from services.common.database import Connection, Database
from services.common.errors import FailedPreconditionError, FieldViolation, invalid_field

AFTER_ALL_CHANGES: Final = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class WantedChange:
    """What to change of a test; None stays."""

    test_name: str | None = None
    hypothesis: str | None = None
    weights: tuple[float, ...] | None = None
    coverage: float | None = None
    targeting: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    clear_ends_at: bool = False
    planned_duration_days: int | None = None
    target_sample_size: int | None = None
    minimum_detectable_effect: float | None = None
    confidence_level: float | None = None


@dataclass(frozen=True, kw_only=True)
class TestHistory:
    """A test with its weight epochs and when each began."""

    __test__ = False  # no test case, whatever its name says to pytest

    defined: DefinedTest
    epochs: tuple[tuple[WeightEpoch, datetime], ...]


class ChangeOperations:
    """Changes tests, and tells what was changed.

    Args:
        database: the service's own.
        now: the clock; aware times.
    """

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def fetch_test(self, test_id: str) -> TestHistory:
        """Return a test as it is defined now, and the weights it has gone through.

        Raises:
            NotFoundError: there is no such test.
        """
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            defined = await define(connection, await require_test(connection, test_id))
            epochs = await definitions.list_weight_epochs(connection, test_id)
        return TestHistory(defined=defined, epochs=tuple(epochs))

    async def update_test(self, test_id: str, wanted: WantedChange, note: ChangeNote) -> DefinedTest:
        """Change a test that is not over; new weights or another coverage open a weight epoch.

        Raises:
            NotFoundError: there is no such test.
            FailedPreconditionError: it is over, a field is fixed by now, a bandit has its weights, or
                coverage has kept users out.
            InvalidArgumentError: weights do not fit its groups, or it would end before it starts.
        """
        async with self._database.transaction() as connection:
            before = await define(connection, await lock_test(connection, test_id))
            now = self._now()
            after = _change(before, wanted, now)
            if after.test.epoch.weights != before.test.epoch.weights:
                _require_full_coverage(before.test, await definitions.list_weight_epochs(connection, test_id))
            differences = compare_states(describe_test(before), describe_test(after))
            if not differences:
                return before
            if after.test.epoch.number != before.test.epoch.number:
                await definitions.insert_weight_epoch(connection, after.test, now)
            await definitions.update_test(connection, after.test)
            if after.rules != before.rules:
                await upsert_targeting(
                    connection,
                    test_id,
                    include_segments=after.rules.include_segments,
                    exclude_segments=after.rules.exclude_segments,
                )
            await changes.insert_change(
                connection,
                test_id,
                changed_at=now,
                note=note,
                action=Action.UPDATE,
                differences=differences,
            )
            return after

    async def list_changes(
        self, test_id: str, *, before: int | None, limit: int
    ) -> tuple[list[Change], int | None]:
        """Return at most `limit` changes of a test, the newest first, and the number before the next page.

        Raises:
            NotFoundError: there is no such test.
        """
        async with self._database.transaction(readonly=True) as connection:
            await require_test(connection, test_id)
            found = await changes.list_changes(connection, test_id, before or AFTER_ALL_CHANGES, limit + 1)
        return found[:limit], found[limit - 1].number if len(found) > limit else None


async def open_weight_epoch(
    connection: Connection, test: ABTest, weights: tuple[float, ...], *, note: ChangeNote, now: datetime
) -> int:
    """Have a locked test enrol by other weights from now on; return the number of the new weight epoch."""
    before = await define(connection, test)
    after = replace(before, test=_with_epoch(test, weights, test.epoch.coverage))
    await definitions.insert_weight_epoch(connection, after.test, now)
    await definitions.update_test(connection, after.test)
    await changes.insert_change(
        connection,
        test.test_id,
        changed_at=now,
        note=note,
        action=Action.UPDATE,
        differences=compare_states(describe_test(before), describe_test(after)),
    )
    return after.test.epoch.number


def _change(before: DefinedTest, wanted: WantedChange, now: datetime) -> DefinedTest:
    """Return a test as it is to be, or raise where it may not."""
    test = before.test
    require_not_over(test)
    _require_open_fields(test, wanted)
    if wanted.weights is not None:
        _require_weights(before, wanted.weights)
    if before.bandit is not None and wanted.coverage not in (None, 1.0):
        raise FailedPreconditionError(
            "coverage: stays 1 with a bandit, whose weights change",
            reason="TEST_FIELD_FIXED",
            violations=[FieldViolation(field="coverage", description="stays 1 with a bandit")],
            metadata={"test_id": test.test_id, "status": test.status.label},
        )
    changed = _with_epoch(
        test,
        wanted.weights or test.epoch.weights,
        test.epoch.coverage if wanted.coverage is None else wanted.coverage,
    )
    changed = replace(
        changed,
        design=_change_design(test.design, wanted),
        starts_at=wanted.starts_at or test.starts_at,
        ends_at=None if wanted.clear_ends_at else wanted.ends_at or test.ends_at,
    )
    if (changed.starts_at, changed.ends_at) != (test.starts_at, test.ends_at):
        check_times(changed, now)
    if changed.epoch != test.epoch:
        check_reachable(changed.epoch.weights, changed.epoch.coverage, field="traffic_weights")
    rules = before.rules
    if wanted.targeting is not None:
        include_segments, exclude_segments = wanted.targeting
        rules = replace(rules, include_segments=include_segments, exclude_segments=exclude_segments)
    return replace(before, test=changed, rules=rules)


def _with_epoch(test: ABTest, weights: tuple[float, ...], coverage: float) -> ABTest:
    if (weights, coverage) == (test.epoch.weights, test.epoch.coverage):
        return test
    return replace(test, epoch=WeightEpoch(number=test.epoch.number + 1, weights=weights, coverage=coverage))


def _change_design(design: TestDesign, wanted: WantedChange) -> TestDesign:
    effect = wanted.minimum_detectable_effect
    return replace(
        design,
        test_name=wanted.test_name or design.test_name,
        hypothesis=design.hypothesis if wanted.hypothesis is None else wanted.hypothesis,
        planned_duration_days=wanted.planned_duration_days or design.planned_duration_days,
        target_sample_size=wanted.target_sample_size or design.target_sample_size,
        minimum_detectable_effect=effect or design.minimum_detectable_effect,
        confidence_level=wanted.confidence_level or design.confidence_level,
    )


def _require_open_fields(test: ABTest, wanted: WantedChange) -> None:
    """Refuse what is fixed once a test has started."""
    if test.status in BEFORE_START:
        return
    fixed = {
        "start_time": wanted.starts_at,
        "target_sample_size": wanted.target_sample_size,
        "minimum_detectable_effect": wanted.minimum_detectable_effect,
        "confidence_level": wanted.confidence_level,
    }
    named = [field for field, value in fixed.items() if value is not None]
    if named:
        raise FailedPreconditionError(
            f"{', '.join(named)}: fixed since the test started, because the verdict rests on it",
            reason="TEST_FIELD_FIXED",
            violations=[
                FieldViolation(field=field, description="is fixed since the test started") for field in named
            ],
            metadata={"test_id": test.test_id, "status": test.status.label},
        )


def _require_weights(before: DefinedTest, weights: tuple[float, ...]) -> None:
    if before.bandit is not None:
        raise FailedPreconditionError(
            "traffic_weights: a bandit moves them; create a test without one to set them by hand",
            reason="BANDIT_OWNS_WEIGHTS",
            violations=[FieldViolation(field="traffic_weights", description="a bandit moves them")],
            metadata={"test_id": before.test.test_id},
        )
    if len(weights) != len(before.test.design.groups):
        raise invalid_field("traffic_weights", "must be one per group, control first", "WEIGHTS_INVALID")


def _require_full_coverage(test: ABTest, epochs: Sequence[tuple[WeightEpoch, datetime]]) -> None:
    """Refuse other weights where coverage has kept users out since the test started.

    Other weights move the groups' ranges of buckets. Who was kept out by coverage and asks again would find
    the newly covered buckets to be mostly those of the group that grew: the groups would no longer fit their
    weights, nor be alike.
    """
    if test.started_at is None:
        return
    ends = [began for _, began in epochs[1:]]
    enrolled_by = [
        epoch for (epoch, _), end in zip_longest(epochs, ends) if end is None or end > test.started_at
    ]
    if any(epoch.coverage < 1 for epoch in enrolled_by):
        raise FailedPreconditionError(
            "traffic_weights: fixed, because coverage has kept users out since the test started: asking "
            "again, they would not spread over the groups by other weights; end this test and create another",
            reason="TEST_FIELD_FIXED",
            violations=[
                FieldViolation(field="traffic_weights", description="is fixed where coverage was under 1")
            ],
            metadata={"test_id": test.test_id, "status": test.status.label},
        )
