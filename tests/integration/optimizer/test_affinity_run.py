"""The process that keeps users' merchants as a real process, over a real database."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common.database import Database
from services.common.errors import FailedPreconditionError
from services.optimizer.affinity_process import AffinityProcess
from services.optimizer.affinity_training.run_fit import run_fit
from services.optimizer.store import affinity_models
from tests.contract.optimizer.harness import fetch_rows

SECONDS = 300.0


async def insert_market(url: str, *, users: int = 60, merchants: int = 8, habits: bool = True) -> None:
    """Users with three favourites each, visited about every third day until now; or all alike, by chance."""
    rng, days = np.random.default_rng(5), 60
    rates = np.full((users, merchants), 0.003 if habits else 0.05)
    if habits:
        favourites = np.array([rng.choice(merchants, 3, replace=False) for _ in range(users)])
        np.put_along_axis(rates, favourites, 0.3, axis=1)
    day, user, merchant = np.nonzero(rng.random((days, users, merchants)) < rates)
    now = datetime.now(UTC)
    await fetch_rows(
        url, "insert into analytics.merchants (merchant_id) select generate_series(1, $1)", merchants
    )
    await fetch_rows(
        url,
        "insert into analytics.events (user_id, event_id, event_type, event_at, counted_at, merchant_id,"
        " stamped_fields, is_machine_open, currency_code)"
        " select 'user-' || u, concat_ws('.', d, m), 4, at, at, m, 0, false, 'USD'"
        " from unnest($1::int[], $2::int[], $3::int[], $4::timestamptz[]) as v (d, u, m, at)",
        day.tolist(),
        user.tolist(),
        (merchant + 1).tolist(),
        [now - timedelta(days=days - int(ago), minutes=1) for ago in day],
    )


async def test_a_fit_and_a_refresh(database: DatabaseAddresses) -> None:
    process = AffinityProcess(database_url=database.optimizer, timeout_seconds=SECONDS)
    with pytest.raises(FailedPreconditionError, match="no user met a merchant"):
        await process.run("fit")
    await insert_market(database.admin)
    assert "nothing is fitted yet" in await process.run("refresh")
    assert (await process.run("fit")).startswith("version 1 is live, 60 users scored: log loss 0.")
    assert await process.run("refresh") == "60 users scored by version 1"
    rows = await fetch_rows(
        database.admin,
        "select count(*) as kept, count(distinct user_id) as users, min(affinity_score) as least,"
        " max(affinity_score) as most from optimizer.user_merchant_affinity",
    )
    assert (rows[0]["kept"], rows[0]["users"]) == (60 * 8, 60)
    assert 0 < rows[0]["least"] < 0.2
    assert 0.7 < rows[0]["most"] < 1


async def test_a_fit_of_noise_is_rejected_and_keeps_nothing(database: DatabaseAddresses) -> None:
    await insert_market(database.admin, habits=False)
    own = await Database.open(database.optimizer, application_name="test", max_size=2)
    try:
        said = await run_fit(own, now=lambda: datetime.now(UTC), on_progress=lambda _stage, _share: None)
        async with own.transaction() as connection:
            assert await affinity_models.fetch_live(connection) is None
    finally:
        await own.close()
    assert said.startswith("version 1 is rejected: it does not beat these baselines by more than chance")
    rows = await fetch_rows(
        database.admin,
        "select status, status_reason, (select count(*) from optimizer.affinity_merchants) as merchants,"
        " (select count(*) from optimizer.user_merchant_affinity) as kept from optimizer.affinity_models",
    )
    assert [(row["status"], row["merchants"], row["kept"]) for row in rows] == [("rejected", 0, 0)]
    assert rows[0]["status_reason"].startswith("does not beat these baselines")
