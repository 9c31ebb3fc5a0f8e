"""The process that keeps users' merchants as a real process, over a real database."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common import attempts
from services.common.database import Connection, Database
from services.common.errors import FailedPreconditionError, InternalError
from services.optimizer.affinity_process import AffinityProcess
from services.optimizer.affinity_training import run
from services.optimizer.affinity_training.run import run_refresh
from services.optimizer.affinity_training.run_fit import run_fit
from services.optimizer.domain.affinity.answer import MerchantAffinity
from services.optimizer.domain.affinity.response import PRIOR_DEVIATION
from services.optimizer.domain.affinity.tables import similarity_rows
from services.optimizer.operations.affinity import AffinityOperations
from services.optimizer.store import affinity, affinity_models
from tests.contract.optimizer.harness import fetch_rows, lock_every_table

SECONDS = 900.0
NOW = datetime(2026, 11, 19, 12, tzinfo=UTC)
"""The present of runs in this process; one of its own has the real clock."""


async def insert_market(
    url: str, now: datetime = NOW, *, users: int = 60, merchants: int = 8, habits: bool = True
) -> None:
    """Users with three favourites each, visited about every third day until now; or all alike, by chance."""
    rng, days = np.random.default_rng(5), 60
    rates = np.full((users, merchants), 0.003 if habits else 0.05)
    if habits:
        favourites = np.array([rng.choice(merchants, 3, replace=False) for _ in range(users)])
        np.put_along_axis(rates, favourites, 0.3, axis=1)
    day, user, merchant = np.nonzero(rng.random((days, users, merchants)) < rates)
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


@pytest.mark.usefixtures("one_day")
async def test_a_fit_and_a_refresh(database: DatabaseAddresses) -> None:
    process = AffinityProcess(database_url=database.optimizer, timeout_seconds=SECONDS)
    with pytest.raises(FailedPreconditionError, match="no user met a merchant"):
        await process.run("fit")
    await insert_market(database.admin, datetime.now(UTC))
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


async def insert_views(url: str, *, users: int = 60) -> tuple[int, int]:
    """Every user views a campaign of merchant 1 four times in as many weeks, and converts after one of them.

    There are two offers. A view of a campaign without a merchant, and one of six weeks ago, tell nothing.
    Returns how many views tell, and conversions.
    """
    await fetch_rows(
        url,
        "insert into analytics.campaigns (campaign_id, merchant_id, campaign_type, currency_code)"
        " values ('c', 1, 1, 'USD'), ('elsewhere', null, 1, 'USD')",
    )
    rows = list[tuple[int, str, int, int, datetime]]()
    for number in range(users * 4):
        turn, user = divmod(number, users)
        offer, at = (5 + number % 2) * 1_000_000, NOW - timedelta(days=9 + user % 5 + 6 * turn)
        rows.append((user, "c", 2, offer, at))
        if (user + turn) % 4 == 0:
            rows.append((user, "c", 4, offer, at + timedelta(seconds=9)))
    rows += [
        (0, "elsewhere", 2, 5_000_000, NOW - timedelta(days=9)),
        (0, "c", 2, 5_000_000, NOW - timedelta(42)),
    ]
    await fetch_rows(
        url,
        "insert into analytics.events (user_id, event_id, event_type, event_at, counted_at, merchant_id,"
        " campaign_id, offer_amount_micros, stamped_fields, is_machine_open, currency_code)"
        " select 'user-' || u, 'seen-' || n, t, at, at, 1, c, o, 0, false, 'USD'"
        " from unnest($1::int[], $2::text[], $3::int[], $4::bigint[], $5::timestamptz[])"
        " with ordinality as v (u, c, t, o, at, n)",
        *(list(column) for column in zip(*rows, strict=True)),
    )
    return users * 4, users


async def test_views_of_campaigns_tell_how_affinity_moves_conversions(database: DatabaseAddresses) -> None:
    await insert_market(database.admin)
    views, conversions = await insert_views(database.admin)
    own = await Database.open(database.optimizer, application_name="test", max_size=2)
    try:
        await run_fit(own, now=lambda: NOW, on_progress=lambda _stage, _share: None)
        async with own.transaction() as connection:
            response = (await affinity_models.fetch_model(connection, 1)).response
    finally:
        await own.close()
    assert (response.views, response.conversions) == (views, conversions)
    assert response.interval is not None
    # One merchant's campaign alone: nothing differs within a user but the week, which tells little.
    assert PRIOR_DEVIATION / 2 < response.standard_error < PRIOR_DEVIATION


class CutOff(BaseException):
    """What ends a scoring in its midst; no defect of some user's."""


async def test_a_scoring_that_is_cut_off_is_gone_on_with(
    database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First a fit's of everybody, then a refresh's; nobody is scored twice, and nobody is left out."""
    await insert_market(database.admin)
    monkeypatch.setattr(run, "_USERS_AT_ONCE", 20)
    batches: list[Sequence[str]] = []
    score = run.Scorer.score

    async def score_twice(self: run.Scorer, user_ids: Sequence[str]) -> None:
        if len(batches) == 2:
            raise CutOff
        batches.append(user_ids)
        await score(self, user_ids)

    async def fit(own: Database) -> str:
        return await run_fit(own, now=lambda: NOW, on_progress=lambda _stage, _share: None)

    async def is_due(own: Database) -> bool:
        return await AffinityOperations(own, now=lambda: NOW).is_anything_new()

    own = await Database.open(database.optimizer, application_name="test", max_size=2)
    try:
        monkeypatch.setattr(run.Scorer, "score", score_twice)
        with pytest.raises(CutOff):
            await fit(own)
        assert await is_due(own)
        monkeypatch.setattr(run.Scorer, "score", score)
        said = await fit(own)
        assert said == "version 1 is live, 20 users scored after its fit was cut off"
        before = await scored_times(database.admin)
        assert len(before) == 60
        batches.clear()
        monkeypatch.setattr(run.Scorer, "score", score_twice)
        with pytest.raises(CutOff):
            await run_refresh(own, now=lambda: NOW + timedelta(hours=1))
        await fetch_rows(database.admin, "update analytics.events set received_at = now() - interval '1 h'")
        async with own.transaction() as held:
            await affinity_models.lock_affinity(held)
            assert not await is_due(own), "somebody is at it"
        assert await is_due(own)
        monkeypatch.setattr(run.Scorer, "score", score)
        since = datetime.now(UTC) - timedelta(hours=2)
        await fetch_rows(
            database.admin,
            "update optimizer.affinity_models set refreshed_until = $1 where version = 1",
            since,
        )
        said = await run_refresh(own, now=lambda: NOW + timedelta(hours=2))
        assert said == "20 users scored by version 1"
        after = await scored_times(database.admin)
        assert len(after) == 60
        assert all(after[user] > before[user] for user in before)
        assert not await is_due(own)
    finally:
        await own.close()


@pytest.mark.parametrize(("most", "kept"), [(100, 59), (1, 7)])
async def test_one_whose_contacts_meet_a_defect_holds_up_nobody(
    database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch, most: int, kept: int
) -> None:
    """The run says so, and the next one ends the scoring; a run that meets too many is given up at once.

    The defect is user-15's, who is the eighth by name: then the seven before are scored.
    """
    await insert_market(database.admin)
    monkeypatch.setattr(run, "_USERS_AT_ONCE", 20)
    monkeypatch.setattr(attempts, "MOST_BROKEN", most)
    replace = affinity.replace_kept_affinities

    async def meet_a_defect(
        connection: Connection,
        found: Sequence[tuple[str, Sequence[MerchantAffinity]]],
        version: int,
        now: datetime,
    ) -> None:
        await replace(connection, found, version, now)
        if "user-15" in dict(found):
            raise ZeroDivisionError

    monkeypatch.setattr(affinity, "replace_kept_affinities", meet_a_defect)
    own = await Database.open(database.optimizer, application_name="test", max_size=2)
    try:
        with pytest.raises(InternalError) as told:
            await run_fit(own, now=lambda: NOW, on_progress=lambda _stage, _share: None)
        scored = await scored_times(database.admin)
        said = await run_fit(own, now=lambda: NOW, on_progress=lambda _stage, _share: None)
    finally:
        await own.close()
    assert told.value.message == f"{kept} users scored; 1 left for a day by a defect: see the log"
    assert len(scored) == kept
    assert "user-15" not in scored
    assert said == f"version 1 is live, {59 - kept} users scored after its fit was cut off"
    assert len(await scored_times(database.admin)) == 59


async def test_a_scoring_under_way_keeps_no_table_from_being_altered(
    database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a fit nor a refresh holds a lock on any between two batches."""
    await insert_market(database.admin)
    monkeypatch.setattr(run, "_USERS_AT_ONCE", 60)
    locked: list[str] = []
    score = run.Scorer.score

    async def lock_and_score(self: run.Scorer, user_ids: Sequence[str]) -> None:
        locked.extend(await lock_every_table(database.admin))
        await score(self, user_ids)

    monkeypatch.setattr(run.Scorer, "score", lock_and_score)
    own = await Database.open(database.optimizer, application_name="test", max_size=2)
    try:
        await run_fit(own, now=lambda: NOW, on_progress=lambda _stage, _share: None)
        await run_refresh(own, now=lambda: NOW)
    finally:
        await own.close()
    assert locked.count("analytics.reporting_settings") == locked.count("optimizer.affinity_models") == 2


async def scored_times(url: str) -> dict[str, datetime]:
    rows = await fetch_rows(
        url, "select user_id, max(computed_at) as at from optimizer.user_merchant_affinity group by user_id"
    )
    return {row["user_id"]: row["at"] for row in rows}


async def test_a_model_of_many_merchants_is_read_as_it_was_kept(database: DatabaseAddresses) -> None:
    await insert_market(database.admin)
    own = await Database.open(database.optimizer, application_name="test", max_size=2)
    try:
        await run_fit(own, now=lambda: NOW, on_progress=lambda _stage, _share: None)
        async with own.transaction() as connection:
            model = await affinity_models.fetch_model(connection, 1)
    finally:
        await own.close()
    rows = await fetch_rows(
        database.admin, "select merchant_id, neighbour_id, similarity from optimizer.merchant_similarities"
    )
    kept = {(row["merchant_id"], row["neighbour_id"]): row["similarity"] for row in rows}
    assert len(kept) > 8
    assert {(merchant, neighbour): value for merchant, neighbour, value in similarity_rows(model)} == kept
    assert {"taste_matrix", "taste_columns", "positions"} <= vars(model).keys(), "no answer waits for these"


async def test_a_fit_of_noise_is_rejected_and_keeps_nothing(database: DatabaseAddresses) -> None:
    await insert_market(database.admin, habits=False)
    own = await Database.open(database.optimizer, application_name="test", max_size=2)
    try:
        said = await run_fit(own, now=lambda: NOW, on_progress=lambda _stage, _share: None)
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
