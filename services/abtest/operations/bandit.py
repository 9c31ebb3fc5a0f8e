"""Bandits: how they stand, and the refreshes that move their weights and end them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.abtest.domain.bandit import (
    BanditEvidence,
    BanditState,
    BanditStep,
    differ,
    judge_bandit,
)
from services.abtest.domain.changes import ChangeNote
from services.abtest.domain.model import ABTest, EpochCounts, GroupCounts
from services.abtest.domain.sample_ratio import check_sample_ratio
from services.abtest.operations.changes import open_weight_epoch
from services.abtest.operations.lookup import lock_test, require_test
from services.abtest.operations.outcomes import fetch_outcome
from services.abtest.store import bandits, outcomes
from services.abtest.store.bandits import KeptBandit
from services.common.database import Connection, Database
from services.common.errors import FailedPreconditionError

ACTOR = "bandit"
"""Who changes weights and ends tests here, in the audit log."""


@dataclass(frozen=True, kw_only=True)
class BanditView:
    """A bandit as it stands: what is kept of it, its groups' users, and what a refresh now would see."""

    test: ABTest
    bandit: KeptBandit
    users: tuple[int, ...]
    state: BanditState


@dataclass(frozen=True, kw_only=True)
class BanditPage:
    """Refreshes of a bandit, the newest first; `next_before` starts the next page."""

    test: ABTest
    steps: tuple[BanditStep, ...]
    next_before: int | None


class BanditOperations:
    """Shows bandits, and refreshes them.

    Args:
        database: the service's own.
        now: the clock; aware times.
        end_test: ends a test for good.
    """

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], datetime],
        end_test: Callable[[str, ChangeNote], Awaitable[object]],
    ) -> None:
        self._database = database
        self._now = now
        self._end_test = end_test

    async def fetch_bandit(self, test_id: str) -> BanditView:
        """Return how a bandit stands.

        Raises:
            NotFoundError: there is no such test.
            FailedPreconditionError: its weights are fixed.
        """
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            return await _view(connection, test_id)

    async def list_steps(self, test_id: str, *, before: int, limit: int) -> BanditPage:
        """Return at most `limit` refreshes with a number below `before`, the newest first.

        Raises:
            NotFoundError: there is no such test.
            FailedPreconditionError: its weights are fixed.
        """
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            test = await require_test(connection, test_id)
            await _require_bandit(connection, test)
            steps = await bandits.list_steps(connection, test_id, before=before, limit=limit + 1)
        return BanditPage(
            test=test,
            steps=tuple(steps[:limit]),
            next_before=steps[limit - 1].number if len(steps) > limit else None,
        )

    async def list_due(self) -> Sequence[str]:
        """Return the running tests whose weights are due to be looked at."""
        async with self._database.acquire() as connection:
            return await bandits.list_due_bandits(connection, self._now())

    async def refresh(self, test_id: str) -> BanditStep | None:
        """Look at a bandit once, move its weights and end it where its rule says so; return what was decided.

        None where the test no longer runs, or another refresh came between. What is counted is counted before
        the test is locked, so that assignments never wait for it.
        """
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            view = await _view(connection, test_id)
        async with self._database.transaction() as connection:
            step = await self._decide(connection, await lock_test(connection, test_id), view)
        if step is not None and step.stopped:
            await self._end_test(test_id, ChangeNote(actor=ACTOR, comment=step.reason))
        return step

    async def _decide(self, connection: Connection, test: ABTest, view: BanditView) -> BanditStep | None:
        if not test.is_active or test.epoch != view.test.epoch:
            return None
        now, state = self._now(), view.state
        number = await bandits.advance_bandit(connection, test.test_id, view.bandit.step_number, now)
        if number is None:
            return None
        changes = not state.stops and differ(test.epoch.weights, state.next_weights)
        epoch, weights = test.epoch.number, test.epoch.weights
        if changes:
            weights = state.next_weights
            note = ChangeNote(actor=ACTOR, comment=state.reason)
            epoch = await open_weight_epoch(connection, test, weights, note=note, now=now)
        step = BanditStep(
            number=number,
            decided_at=now,
            epoch=epoch,
            weights_changed=changes,
            weights=weights,
            users=view.users,
            values=tuple(each.mean for each in state.posteriors) if state.posteriors else None,
            probabilities_best=state.probabilities_best,
            leader_index=state.leader.group_index if state.leader else None,
            probability_gain_is_small=state.leader.probability_gain_is_small if state.leader else None,
            stopped=state.stops,
            reason=state.reason,
        )
        await bandits.insert_step(connection, test.test_id, step)
        return step


async def _view(connection: Connection, test_id: str) -> BanditView:
    test = await require_test(connection, test_id)
    bandit = await _require_bandit(connection, test)
    evidence = await _load_evidence(connection, test)
    state = await asyncio.to_thread(judge_bandit, bandit.design, evidence)  # may take a tenth of a second
    return BanditView(test=test, bandit=bandit, users=evidence.users, state=state)


async def _load_evidence(connection: Connection, test: ABTest) -> BanditEvidence:
    metric = test.design.primary_metric
    assigned = await outcomes.fetch_users(connection, test)
    limits = await outcomes.fetch_limits(connection, test)
    outcome = await fetch_outcome(connection, test, metric, assigned, currency_codes=limits.currency_codes)
    epochs = [
        EpochCounts(
            epoch=epoch,
            weights=assigned.weights[epoch],
            groups=tuple(GroupCounts(users=users) for users in by_group),
        )
        for (epoch, _), by_group in assigned.cells.items()
    ]
    check = check_sample_ratio(epochs)
    groups = range(len(test.design.groups))
    return BanditEvidence(
        metric=metric,
        strata=outcome.strata,
        users=tuple(sum(by_group[index] for by_group in assigned.cells.values()) for index in groups),
        weights=test.epoch.weights,
        ratio_mismatch=check is not None and check.alarms,
    )


async def _require_bandit(connection: Connection, test: ABTest) -> KeptBandit:
    bandit = await bandits.fetch_bandit(connection, test.test_id)
    if bandit is None:
        raise FailedPreconditionError(
            f"test {test.test_id!r} is no bandit: its weights stay as they are set",
            reason="BANDIT_UNKNOWN",
            metadata={"test_id": test.test_id},
        )
    return bandit
