"""A source of recommendations that is slow, busy or broken withholds its own type, and no other."""

import asyncio
from pathlib import Path

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common.errors import (
    AbortedError,
    DeadlineExceededError,
    DomainError,
    InternalError,
    ResourceExhaustedError,
)
from services.optimizer.domain.segments.ranking import SegmentRanking
from services.optimizer.operations import recommendation_sources
from services.optimizer.operations.segments import SegmentOperations
from tests.contract.optimizer.event_log import insert_campaigns
from tests.contract.optimizer.recommendation_stand import reasons, running_closed


@pytest.mark.parametrize(
    "error",
    [
        DeadlineExceededError("the database did not finish in time", reason="DATABASE_DEADLINE_EXCEEDED"),
        ResourceExhaustedError("too many wait", reason="TOO_MANY_WAITING"),
        AbortedError("it collided", reason="CONCURRENT_UPDATE"),
        InternalError("the model server failed", reason="PEER_FAILED"),
    ],
)
async def test_a_source_that_fails_withholds_its_own_type(
    database: DatabaseAddresses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: DomainError
) -> None:
    async def fail(_self: SegmentOperations, _campaign_id: str) -> SegmentRanking:
        raise error

    monkeypatch.setattr(SegmentOperations, "rank", fail)
    await insert_campaigns(database.admin, ["c1"])
    async with running_closed(database, tmp_path) as closed:
        withheld = reasons(await closed.recommend("c1"))
    assert withheld["segment"] == error.reason
    assert sorted(withheld) == ["channel", "offer_amount", "segment", "timing"]


async def test_a_source_that_never_ends_withholds_its_own_type(
    database: DatabaseAddresses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_self: SegmentOperations, _campaign_id: str) -> SegmentRanking:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    monkeypatch.setattr(SegmentOperations, "rank", hang)
    monkeypatch.setattr(recommendation_sources, "LONGEST_SECONDS", 1.0)
    await insert_campaigns(database.admin, ["c1"])
    async with running_closed(database, tmp_path) as closed:
        withheld = reasons(await closed.recommend("c1"))
    assert withheld["segment"] == "TOO_SLOW"
