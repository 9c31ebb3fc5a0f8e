"""Recommendations that are made, decided and expired at the same moment, on two connections."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common.database import Connection, Database
from services.common.errors import FailedPreconditionError
from services.optimizer.domain.recommendations.recommendations import (
    NO_BETTER_CHOICE,
    Action,
    Decision,
    Draft,
    Recommendation,
    RecommendationType,
    Status,
    Withheld,
)
from services.optimizer.operations import offer_outcomes
from services.optimizer.operations.offer_outcomes import OutcomeKeeper
from services.optimizer.operations.recommendation_sources import Asked, RecommendationSources
from services.optimizer.operations.recommendations import Advice, RecommendationOperations, Verdict
from services.optimizer.store import recommendations as store
from tests.contract.optimizer.event_log import insert_campaigns
from tests.contract.optimizer.harness import NOON

CAMPAIGN = "c1"
DAY = timedelta(days=1)


class ChosenOffers(RecommendationSources):
    """Recommends the offer that the test names, and counts what it was asked for."""

    def __init__(self) -> None:
        self.choice = "12.00"
        self.asked: list[RecommendationType] = []

    async def draft(self, kind: RecommendationType, asked: Asked) -> Draft | Withheld:
        self.asked.append(kind)
        if kind is RecommendationType.CHANNEL:
            return Withheld(type=kind, reason=NO_BETTER_CHOICE, message="the one there is, is the best")
        if kind is not RecommendationType.OFFER_AMOUNT:
            return Withheld(type=kind, reason="SEND_TIMES_UNKNOWN", message="not looked at here")
        return Draft(
            type=kind,
            choice=self.choice,
            text=f"Offer {self.choice}.",
            effect=0.1,
            interval=None,
            effect_metric="profit_per_view",
            confidence=0.9,
            confidence_method="test",
            evidence="test",
            evidence_kind="observational",
        )


@dataclass(kw_only=True)
class Stand:
    """Recommendations of one campaign on a day that tests move."""

    database: Database
    sources: ChosenOffers = field(default_factory=ChosenOffers)
    now: datetime = NOON
    operations: RecommendationOperations = field(init=False)

    def __post_init__(self) -> None:
        self.operations = RecommendationOperations(self.database, sources=self.sources, now=lambda: self.now)

    async def recommend(self, choice: str) -> Advice:
        self.sources.choice = choice
        return await self.operations.recommend(CAMPAIGN)

    async def decide(self, kept: Recommendation, action: Action) -> Recommendation:
        verdict = Verdict(action=action, actor="ann", comment="")
        return await self.operations.decide(kept.recommendation_id, verdict)

    async def statuses(self) -> list[tuple[str, str]]:
        async with self.database.acquire() as connection:
            rows = await connection.fetch(
                "select choice, status from campaign_optimizations order by created_at, choice"
            )
        return [(row["choice"], row["status"]) for row in rows]

    async def actions(self, kept: Recommendation) -> list[str]:
        async with self.database.acquire() as connection:
            return [each.action for each in await store.list_decisions(connection, kept.recommendation_id)]


@pytest.fixture
async def stand(database: DatabaseAddresses) -> AsyncIterator[Stand]:
    await insert_campaigns(database.admin, [CAMPAIGN])
    opened = await Database.open(database.optimizer, application_name="test")
    try:
        yield Stand(database=opened)
    finally:
        await opened.close()


class Held:
    """Keeps the transaction that notes an action open until it is released."""

    def __init__(self, action: Action) -> None:
        self._action = action
        self._insert = store.insert_decision
        self.reached, self.released = asyncio.Event(), asyncio.Event()

    async def __call__(self, connection: Connection, recommendation_id: str, decision: Decision) -> None:
        await self._insert(connection, recommendation_id, decision)
        if decision.action is self._action:
            self.reached.set()
            await self.released.wait()


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Callable[[Action], Held]:
    def begin(action: Action) -> Held:
        held = Held(action)
        monkeypatch.setattr(store, "insert_decision", held)
        return held

    return begin


async def wait_for_lock(admin: str, other: Awaitable[object]) -> None:
    """Return once a transaction waits for another's, while `other` is under way."""
    task = asyncio.ensure_future(other)
    connection = await asyncpg.connect(admin)
    try:
        while not task.done():
            waiting = await connection.fetchval(
                "select count(*) from pg_stat_activity"
                " where datname = current_database() and wait_event_type = 'Lock'"
            )
            if waiting:
                return
        raise AssertionError("nothing waited for the decision")
    finally:
        await connection.close()


@pytest.mark.parametrize(("action", "status"), [(Action.APPLY, "applied"), (Action.DISMISS, "dismissed")])
async def test_a_decision_outlives_a_recommendation_made_at_the_same_moment(
    stand: Stand,
    database: DatabaseAddresses,
    hold: Callable[[Action], Held],
    action: Action,
    status: str,
) -> None:
    first = (await stand.recommend("12.00")).recommendations[0]
    stand.now += DAY
    held = hold(action)
    deciding = asyncio.create_task(stand.decide(first, action))
    await held.reached.wait()
    asking = asyncio.create_task(stand.recommend("14.00"))
    await wait_for_lock(database.admin, asking)
    held.released.set()
    assert (await deciding).status.value == status
    advice = await asking
    assert [(each.draft.choice, each.status) for each in advice.recommendations] == [("14.00", Status.OPEN)]
    assert await stand.statuses() == [("12.00", status), ("14.00", "open")]
    assert await stand.actions(first) == ["create", action.value]


async def test_what_was_accepted_at_the_same_moment_is_kept(
    stand: Stand, database: DatabaseAddresses, hold: Callable[[Action], Held]
) -> None:
    first = (await stand.recommend("12.00")).recommendations[0]
    stand.now += DAY
    held = hold(Action.ACCEPT)
    deciding = asyncio.create_task(stand.decide(first, Action.ACCEPT))
    await held.reached.wait()
    asking = asyncio.create_task(stand.recommend("14.00"))
    await wait_for_lock(database.admin, asking)
    held.released.set()
    await deciding
    kept = (await asking).recommendations[0]
    assert (kept.recommendation_id, kept.status) == (first.recommendation_id, Status.ACCEPTED)
    assert await stand.statuses() == [("12.00", "accepted")]


async def test_a_decision_that_comes_second_is_told_so(
    stand: Stand, database: DatabaseAddresses, hold: Callable[[Action], Held]
) -> None:
    first = (await stand.recommend("12.00")).recommendations[0]
    stand.now += DAY
    held = hold(Action.SUPERSEDE)
    asking = asyncio.create_task(stand.recommend("14.00"))
    await held.reached.wait()
    deciding = asyncio.create_task(stand.decide(first, Action.APPLY))
    await wait_for_lock(database.admin, deciding)
    held.released.set()
    await asking
    with pytest.raises(FailedPreconditionError) as refused:
        await deciding
    assert (refused.value.reason, refused.value.metadata["status"]) == (
        "RECOMMENDATION_CLOSED",
        "superseded",
    )
    assert await stand.actions(first) == ["create", "supersede"]


async def test_the_job_leaves_alone_what_is_being_decided(
    stand: Stand, hold: Callable[[Action], Held]
) -> None:
    first = (await stand.recommend("12.00")).recommendations[0]
    held = hold(Action.APPLY)
    deciding = asyncio.create_task(stand.decide(first, Action.APPLY))
    await held.reached.wait()
    late = stand.now + 20 * DAY
    reckoning = await OutcomeKeeper(stand.database, now=lambda: late).reckon()
    assert reckoning.expired == 0
    held.released.set()
    assert (await deciding).status is Status.APPLIED
    assert await stand.actions(first) == ["create", "apply"]


async def test_a_closed_recommendation_cannot_be_closed_by_its_id_alone(stand: Stand) -> None:
    first = (await stand.recommend("12.00")).recommendations[0]
    await stand.decide(first, Action.APPLY)
    for change in (store.update_status, lambda c, kept: store.refresh_recommendation(c, kept, stand.now)):
        with pytest.raises(LookupError):
            async with stand.database.transaction() as connection:
                await change(connection, first)
    assert await stand.statuses() == [("12.00", "applied")]


async def test_none_of_several_dismissed_choices_comes_back(stand: Stand) -> None:
    for choice in ("12.00", "14.00"):
        await stand.decide((await stand.recommend(choice)).recommendations[0], Action.DISMISS)
        stand.now += DAY
    for choice in ("12.00", "14.00"):
        advice = await stand.recommend(choice)
        assert advice.recommendations == ()
        withheld = {each.type: each for each in advice.withheld}[RecommendationType.OFFER_AMOUNT]
        assert withheld.reason == "DISMISSED"
        assert choice in withheld.message
    assert (await stand.recommend("13.00")).recommendations[0].draft.choice == "13.00"


async def test_what_the_data_said_is_asked_once_a_day_by_all_replicas(stand: Stand) -> None:
    first = await stand.recommend("12.00")
    assert sorted(stand.sources.asked) == sorted(RecommendationType)
    stand.sources.asked.clear()
    again = await Stand(database=stand.database, sources=stand.sources).recommend("12.00")
    assert again == first
    # What could not be said is tried again; what is kept, and what the data spoke against, is not.
    assert sorted(stand.sources.asked) == [RecommendationType.SEGMENT, RecommendationType.TIMING]
    stand.now += DAY
    stand.sources.asked.clear()
    await stand.recommend("12.00")
    assert sorted(stand.sources.asked) == sorted(RecommendationType)


async def test_every_application_is_measured_in_its_turn_until_its_outcome_is_final(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offer_outcomes, "AT_ONCE", 1)
    for choice in ("12.00", "14.00"):
        await stand.decide((await stand.recommend(choice)).recommendations[0], Action.APPLY)
        stand.now += DAY
    keeper = OutcomeKeeper(stand.database, now=lambda: stand.now)
    runs = []
    for days in (0, 1, 40, 1, 1):
        stand.now += days * DAY
        measured = (await keeper.reckon()).measured
        async with stand.database.acquire() as connection:
            rows = await connection.fetch("select choice, is_final from offer_optimization_history")
        runs.append((measured, {row["choice"]: row["is_final"] for row in rows}))
    assert runs == [
        (1, {"12.00": False}),
        (1, {"12.00": False, "14.00": False}),
        (1, {"12.00": True, "14.00": False}),
        (1, {"12.00": True, "14.00": True}),
        (0, {"12.00": True, "14.00": True}),
    ]
