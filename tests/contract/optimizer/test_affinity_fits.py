"""Fits and refreshes of users' merchants where there is too little data, or another run."""

import asyncio
from pathlib import Path

import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common.errors import FailedPreconditionError
from services.optimizer.affinity_training.run import require_contacts
from services.optimizer.operations.affinity import AffinityOperations
from services.optimizer.store import affinity_models
from tests.contract.optimizer.affinity_stand import (
    NOW,
    ask,
    fit,
    insert_visits,
    opened,
    refresh,
)
from tests.contract.optimizer.harness import (
    fetch_rows,
    optimizer_settings,
    refusal_of,
    running_optimizer,
)


async def test_before_anything_is_learned_the_remedy_is_named(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    async with running_optimizer(optimizer_settings(database.optimizer, tmp_path, 1)) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(stub, "anybody")
    refusal = refusal_of(caught.value)
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "AFFINITY_NOT_FITTED")
    assert "POST /api/optimize/jobs/affinity_model/run" in refusal.message


async def test_too_little_data_is_refused_with_what_is_missing(database: DatabaseAddresses) -> None:
    with pytest.raises(FailedPreconditionError, match="the catalog has no merchants"):
        await fit(database.optimizer)
    async with opened(database.optimizer) as own:
        with pytest.raises(FailedPreconditionError, match="send purchases or geofence entries"):
            await require_contacts(own, NOW)
        assert not await AffinityOperations(own, now=lambda: NOW).is_anything_new()
    await fetch_rows(database.admin, "insert into analytics.merchants (merchant_id) values (1)")
    await insert_visits(database.admin, "one", [1] * 9)
    with pytest.raises(FailedPreconditionError) as caught:
        await fit(database.optimizer)
    assert caught.value.reason == "DATA_INSUFFICIENT"
    assert "28 days of events (there are 8)" in caught.value.message
    assert "500 days on which a user bought at a merchant (there are 9)" in caught.value.message
    assert (await refresh(database.optimizer, NOW)).startswith("nothing is fitted yet")


async def test_a_refresh_waits_for_a_fit_under_way(database: DatabaseAddresses) -> None:
    """Both write users' rows: the lock that a fit holds until its end keeps a refresh of any replica out."""
    async with opened(database.optimizer) as own:
        async with own.transaction() as held:
            await affinity_models.lock_affinity(held)
            waiting = asyncio.create_task(refresh(database.optimizer, NOW))
            while not await fetch_rows(
                database.admin, "select 1 from pg_locks where locktype = 'advisory' and not granted"
            ):
                assert not waiting.done()
                await asyncio.sleep(0.01)
            assert not waiting.done()
        assert (await waiting).startswith("nothing is fitted yet")
