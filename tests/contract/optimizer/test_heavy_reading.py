"""Questions that read many deliveries share a few turns, and rows are decoded a batch at a time."""

import asyncio
import threading
from dataclasses import fields
from datetime import timedelta

import numpy as np
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common.database import Database
from services.common.errors import FailedPreconditionError, ResourceExhaustedError
from services.common.waiting_room import WaitingRoom
from services.optimizer.domain.policies.offer_policy import OfferPolicy, PolicyObjective
from services.optimizer.domain.response.decision_table import DecisionTable
from services.optimizer.operations import policies, segments
from services.optimizer.operations.policies import PolicyOperations, PolicyQuestion
from services.optimizer.operations.segments import SegmentOperations
from services.optimizer.store import statements
from services.optimizer.store.decisions import list_logged_decisions
from tests.contract.optimizer.event_log import DELIVERED, Event, insert_campaigns, insert_events
from tests.contract.optimizer.harness import NOON

DAY = timedelta(days=1)
QUESTION = PolicyQuestion(
    campaign_ids=("c1",),
    policy=OfferPolicy(rules=()),
    objective=PolicyObjective.CONVERSIONS,
    first_day=None,
    last_day=None,
    minimum_overlap=0.5,
)


async def read(database: Database) -> DecisionTable:
    async with database.transaction(readonly=True) as connection:
        table = await list_logged_decisions(
            connection, ["c2", "c1"], NOON - 9 * DAY, NOON, timedelta(hours=72), "UTC"
        )
    assert table is not None
    return table


async def test_batches_make_the_same_columns(
    database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    await insert_campaigns(database.admin, ["c1", "c2"])
    await insert_events(
        database.admin,
        [
            Event(
                user_id=f"u{place}",
                event_id="d",
                event_type=DELIVERED,
                at=NOON - 2 * DAY - place * timedelta(hours=1),
                campaign_id=f"c{1 + place % 2}",
                offer=5.0 + place % 3,
                propensity=0.25,
            )
            for place in range(40)
        ],
    )
    opened = await Database.open(database.optimizer, application_name="test")
    try:
        whole = await read(opened)
        monkeypatch.setattr(statements, "BATCH", 7)
        batched = await read(opened)
    finally:
        await opened.close()
    assert len(batched) == 40
    assert batched.campaign.tolist() == [1, 0] * 20
    for field in fields(DecisionTable):
        np.testing.assert_array_equal(getattr(batched, field.name), getattr(whole, field.name))


async def test_policies_and_segments_share_their_turns(database: DatabaseAddresses) -> None:
    opened = await Database.open(database.optimizer, application_name="test")
    room = WaitingRoom("questions", at_once=1, waiting=0)
    try:
        async with room.turn():
            for answer in (
                SegmentOperations(opened, room=room, now=lambda: NOON).rank("c1"),
                PolicyOperations(opened, room=room, now=lambda: NOON).evaluate(QUESTION),
            ):
                with pytest.raises(ResourceExhaustedError):
                    await answer
    finally:
        await opened.close()


@pytest.mark.parametrize("question", ["policy", "segments"])
async def test_a_caller_who_leaves_keeps_its_turn_until_the_arithmetic_has_ended(
    database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    """A thread cannot be stopped: with the turn of one that is left, more and more would compute at once."""
    begun, go = threading.Event(), threading.Event()

    def compute(*_arguments: object, **_named: object) -> None:
        begun.set()
        go.wait()
        raise FailedPreconditionError("no overlap", reason="OVERLAP_MISSING")

    monkeypatch.setattr(policies, "evaluate_offer_policy", compute)
    monkeypatch.setattr(segments, "compare_at_offers", compute)
    await insert_campaigns(database.admin, ["c1"])
    delivery = Event(
        user_id="u",
        event_id="d",
        event_type=DELIVERED,
        at=NOON - 9 * DAY,
        campaign_id="c1",
        offer=5.0,
        propensity=0.25,
    )
    await insert_events(database.admin, [delivery])
    opened = await Database.open(database.optimizer, application_name="test")
    room = WaitingRoom("questions", at_once=1, waiting=0)
    of_policy = PolicyOperations(opened, room=room, now=lambda: NOON)
    of_segments = SegmentOperations(opened, room=room, now=lambda: NOON)

    async def ask() -> None:
        await (of_policy.evaluate(QUESTION) if question == "policy" else of_segments.rank("c1"))

    try:
        leaving = asyncio.create_task(ask())
        await asyncio.to_thread(begun.wait)
        leaving.cancel()
        with pytest.raises(ResourceExhaustedError):
            await asyncio.wait_for(ask(), 60)
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        with pytest.raises(FailedPreconditionError):
            await ask()
    finally:
        go.set()
        await opened.close()
