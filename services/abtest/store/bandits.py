"""Statements of bandits and of what they decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.abtest.domain.bandit import BanditDesign, BanditStep
from services.abtest.store.statements import STATEMENTS, Connection, Record


@dataclass(frozen=True, kw_only=True)
class KeptBandit:
    """A bandit as it is kept: its design, and the number and time of its last refresh (0, None before)."""

    design: BanditDesign
    step_number: int
    refreshed_at: datetime | None


async def insert_bandit(connection: Connection, test_id: str, design: BanditDesign) -> None:
    """Make a test a bandit, in the transaction that creates it."""
    await connection.execute(
        STATEMENTS["insert_bandit"].sql,
        test_id,
        design.exploration_floor,
        design.refresh_interval_seconds,
        design.minimum_users_per_group,
        design.stopping_gain,
        design.stopping_probability,
    )


async def fetch_bandit(connection: Connection, test_id: str) -> KeptBandit | None:
    """Return a test's bandit; None where its weights are fixed."""
    row = await connection.fetchrow(STATEMENTS["fetch_bandit"].sql, test_id)
    if row is None:
        return None
    return KeptBandit(
        design=BanditDesign(
            exploration_floor=row["exploration_floor"],
            refresh_interval_seconds=row["refresh_interval_seconds"],
            minimum_users_per_group=row["minimum_users_per_group"],
            stopping_gain=row["stopping_gain"],
            stopping_probability=row["stopping_probability"],
        ),
        step_number=row["step_number"],
        refreshed_at=row["refreshed_at"],
    )


async def list_due_bandits(connection: Connection, now: datetime) -> list[str]:
    """Return the running tests whose weights are due to be looked at."""
    return [row["test_id"] for row in await connection.fetch(STATEMENTS["list_due_bandits"].sql, now)]


async def advance_bandit(connection: Connection, test_id: str, after: int, now: datetime) -> int | None:
    """Return the number of a new refresh after the one numbered `after`; None where another came first."""
    number: int | None = await connection.fetchval(STATEMENTS["advance_bandit"].sql, test_id, after, now)
    return number


async def insert_step(connection: Connection, test_id: str, step: BanditStep) -> None:
    """Keep a refresh."""
    await connection.execute(
        STATEMENTS["insert_bandit_step"].sql,
        test_id,
        step.number,
        step.decided_at,
        step.epoch,
        step.weights_changed,
        step.weights,
        step.users,
        step.values,
        step.probabilities_best,
        step.leader_index,
        step.probability_gain_is_small,
        step.stopped,
        step.reason,
    )


async def list_steps(
    connection: Connection, test_id: str, *, before: int, limit: int
) -> Sequence[BanditStep]:
    """Return at most `limit` refreshes with a number below `before`, the newest first."""
    rows = await connection.fetch(STATEMENTS["list_bandit_steps"].sql, test_id, before, limit)
    return [_step(row) for row in rows]


def _step(row: Record) -> BanditStep:
    probabilities = row["probabilities_best"]
    return BanditStep(
        number=row["step_number"],
        decided_at=row["decided_at"],
        epoch=row["epoch"],
        weights_changed=row["weights_changed"],
        weights=tuple(row["weights"]),
        users=tuple(row["users"]),
        values=None if row["metric_values"] is None else tuple(row["metric_values"]),
        probabilities_best=None if probabilities is None else tuple(probabilities),
        leader_index=row["leader_index"],
        probability_gain_is_small=row["probability_gain_is_small"],
        stopped=row["stopped"],
        reason=row["reason"],
    )
