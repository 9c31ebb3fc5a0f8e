"""GetMerchantAffinity through a real server: simulated users whose merchants are known, others by hand."""

from collections.abc import AsyncIterator
from datetime import UTC, date, timedelta
from pathlib import Path

import asyncpg
import grpc
import numpy as np
import pytest
import pytest_asyncio

from deploy.local.bootstrap import DatabaseAddresses
from examples.simulated_world.evaluate.asking import Evaluation
from examples.simulated_world.evaluate.merchants import popular_merchants, report, score_merchants
from examples.simulated_world.messages import merchant_messages, user_id
from examples.simulated_world.truth import Truth
from examples.simulated_world.world import World
from gen.campaigns.optimizer.v1 import affinity_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from services.optimizer.affinity_training.run import KEPT_MERCHANTS
from services.optimizer.operations.affinity import AffinityOperations
from services.optimizer.store import affinity_models
from tests.contract.optimizer.affinity_stand import (
    GEOFENCE_ENTERED,
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
from tests.contract.optimizer.world_events import insert_simulated_users

END = date(2026, 11, 19)
SEED = 5_151
USERS = np.arange(0, 5_000, 10)
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def insert_merchants(url: str, world: World) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.executemany(
            "insert into analytics.merchants (merchant_id, merchant_name, category, latitude, longitude)"
            " values ($1, $2, $3, $4, $5)",
            [
                (each.merchant_id, each.merchant_name, each.category, each.latitude, each.longitude)
                for each in merchant_messages(world)
            ],
        )
    finally:
        await connection.close()


async def age_receipts(url: str) -> None:
    """Let all events have come in an hour ago, by the database's clock."""
    await fetch_rows(url, "update analytics.events set received_at = now() - interval '1 hour'")


@pytest.fixture(scope="module")
def world() -> World:
    return World.build(seed=SEED, end_date=END)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def optimizer(
    module_database: DatabaseAddresses, world: World, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[OptimizerServiceStub]:
    """A server over 500 users of a world whose merchants a job has fitted and kept."""
    await insert_merchants(module_database.admin, world)
    await insert_simulated_users(module_database.admin, world, USERS)
    await age_receipts(module_database.admin)
    said = await fit(module_database.optimizer)
    assert said.startswith("version 1 is live, 500 users scored: log loss 0.")
    settings = optimizer_settings(module_database.optimizer, tmp_path_factory.mktemp("models"), 1)
    async with running_optimizer(settings, clock=lambda: NOW) as stub:
        yield stub


async def test_preferred_merchants_are_among_the_first_three(
    optimizer: OptimizerServiceStub, world: World
) -> None:
    truth = Truth.of(world)
    answers = [await ask(optimizer, user_id(user), 3) for user in USERS.tolist()]
    found = [[merchant.merchant_id for merchant in answer.merchants] for answer in answers]
    popular = [popular_merchants(world.users)] * len(USERS)
    assert score_merchants(found, USERS.tolist(), truth) >= 0.92
    assert score_merchants(popular, USERS.tolist(), truth) < 0.2
    assert {answer.source for answer in answers} == {pb.AFFINITY_SOURCE_KEPT}


async def test_the_evaluation_prints_what_is_reached_beside_simple_answers(
    optimizer: OptimizerServiceStub, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    users = USERS.tolist()
    await report(Evaluation(optimizer=optimizer, world=world, truth=Truth.of(world), users=users))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if "%" in line]
    reached = {line[:24].strip(): float(line[24:].split("%")[0]) for line in lines}
    assert list(reached) == [
        *("recommended", "counted purchases", "and redeemed offers"),
        *("the same for all", "the habits themselves"),
    ]
    assert reached["recommended"] > 92
    assert reached["recommended"] > reached["and redeemed offers"] > reached["the same for all"]
    assert "0 refusals" in lines[0]


async def test_an_answer_is_whole(optimizer: OptimizerServiceStub, world: World) -> None:
    answer = await ask(optimizer, user_id(10))
    scores = [merchant.affinity_score for merchant in answer.merchants]
    first = answer.merchants[0]
    assert (answer.user_id, len(answer.merchants), answer.horizon_days) == (user_id(10), 10, 7)
    assert answer.computed_time.ToDatetime(UTC) == NOW
    assert answer.model_version == 1
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert all(merchant.reasons and merchant.merchant_name for merchant in answer.merchants)
    assert first.merchant_name == world.merchants.names[first.merchant_id - 1]
    assert first.is_returning
    assert first.reasons[0].startswith("bought here on ")
    assert 0 <= first.distance_km < 50
    assert first.affinity_interval.lower < first.affinity_interval.upper
    assert abs(first.affinity_interval.lower - first.affinity_score) < 0.3
    told = " ".join(reason for merchant in answer.merchants for reason in merchant.reasons)
    assert "km from where the user mostly is" in told
    assert "where the user buys, also buy here" in told


async def test_more_than_is_kept_is_answered_live_and_agrees(optimizer: OptimizerServiceStub) -> None:
    kept = await ask(optimizer, user_id(20), KEPT_MERCHANTS)
    live = await ask(optimizer, user_id(20), 50)
    assert kept.source == pb.AFFINITY_SOURCE_KEPT
    assert live.source == pb.AFFINITY_SOURCE_LIVE
    assert len(live.merchants) == 50
    for before, now in zip(kept.merchants, live.merchants, strict=False):
        assert before.merchant_id == now.merchant_id
        assert before.affinity_score == pytest.approx(now.affinity_score)
        assert before.reasons == now.reasons


async def test_a_fresh_user_is_answered_from_the_first_purchase_on(
    optimizer: OptimizerServiceStub, module_database: DatabaseAddresses, world: World
) -> None:
    city = world.merchants.city
    home = [place + 1 for place in np.flatnonzero(city == 0).tolist()]
    await insert_visits(module_database.admin, "fresh", [home[3], home[3], home[1]])
    answer = await ask(optimizer, "fresh")
    assert answer.source == pb.AFFINITY_SOURCE_LIVE
    assert [merchant.merchant_id for merchant in answer.merchants[:2]] == [home[3], home[1]]
    assert answer.merchants[0].reasons[0] == "bought here on 2 of the last 3 days, last yesterday"
    assert answer.merchants[1].reasons[0] == "bought here once, today"
    never = answer.merchants[2:]
    assert all(not merchant.is_returning for merchant in never)
    assert {merchant.merchant_id for merchant in never} <= set(home), "others of the same city come next"


async def test_one_who_only_passed_by_is_told_apart_by_places(
    optimizer: OptimizerServiceStub, module_database: DatabaseAddresses, world: World
) -> None:
    there = [place + 1 for place in np.flatnonzero(world.merchants.city == 2).tolist()]
    await insert_visits(module_database.admin, "passer-by", there[:2], kind=GEOFENCE_ENTERED)
    answer = await ask(optimizer, "passer-by", 5)
    assert answer.source == pb.AFFINITY_SOURCE_LIVE
    assert {merchant.merchant_id for merchant in answer.merchants} <= set(there)
    assert all(merchant.distance_km < 50 for merchant in answer.merchants)


async def test_one_of_whom_nothing_is_known_is_answered_for_by_everybody(
    optimizer: OptimizerServiceStub, module_database: DatabaseAddresses
) -> None:
    await fetch_rows(module_database.admin, "insert into analytics.users (user_id) values ('unseen')")
    answer = await ask(optimizer, "unseen", 3)
    assert answer.source == pb.AFFINITY_SOURCE_POPULATION
    assert len(answer.merchants) == 3
    assert not answer.merchants[0].HasField("is_returning")
    assert not answer.merchants[0].HasField("affinity_interval")
    assert "of this user nothing is known yet" in answer.merchants[0].reasons[0]
    assert 0 < answer.merchants[2].affinity_score <= answer.merchants[0].affinity_score < 0.3


async def test_the_refresh_scores_those_of_whom_something_came_in(
    module_database: DatabaseAddresses, optimizer: OptimizerServiceStub, tmp_path: Path
) -> None:
    later = NOW + timedelta(hours=2)
    await refresh(module_database.optimizer, NOW)
    await age_receipts(module_database.admin)
    await insert_visits(module_database.admin, user_id(30), [7], until=NOW + timedelta(hours=1))
    before = await ask(optimizer, user_id(30), 3)
    assert before.source == pb.AFFINITY_SOURCE_LIVE, "kept scores do not hold what came in since"
    async with opened(module_database.optimizer) as database:
        affinities = AffinityOperations(database, now=lambda: later)
        assert await affinities.is_anything_new()
        async with database.transaction() as fitting:
            await affinity_models.lock_affinity(fitting)
            assert not await affinities.is_anything_new(), "no refresh is begun to wait for a fit's end"
    assert await refresh(module_database.optimizer, later) == "1 users scored by version 1"
    just_in = await ask(optimizer, user_id(30), 3)
    assert just_in.source == pb.AFFINITY_SOURCE_LIVE, "others' events of these minutes may be missed yet"
    await age_receipts(module_database.admin)
    settings = optimizer_settings(module_database.optimizer, tmp_path, 1)
    async with running_optimizer(settings, clock=lambda: later) as stub:
        after = await ask(stub, user_id(30), 3)
    assert after.source == pb.AFFINITY_SOURCE_KEPT
    assert after.computed_time.ToDatetime(UTC) == later
    assert [m.merchant_id for m in after.merchants] == [m.merchant_id for m in before.merchants]
    rows = await fetch_rows(
        module_database.admin,
        "select count(*) as users, max(kept) as most from (select count(*) as kept"
        " from optimizer.user_merchant_affinity group by user_id) as by_user",
    )
    assert rows[0]["users"] >= 500
    assert rows[0]["most"] == KEPT_MERCHANTS
    async with opened(module_database.optimizer) as database:
        assert not await AffinityOperations(database, now=lambda: later).is_anything_new()


async def test_an_event_written_while_users_are_scored_is_not_missed(
    module_database: DatabaseAddresses, optimizer: OptimizerServiceStub
) -> None:
    """It counts as received when its transaction began: before the scoring, which cannot see it yet."""
    user = user_id(70)
    connection = await asyncpg.connect(module_database.admin)
    try:
        async with connection.transaction():
            await connection.execute(
                "insert into analytics.events (user_id, event_id, event_type, event_at, counted_at,"
                " merchant_id, stamped_fields, is_machine_open, currency_code)"
                " select user_id, 'late', event_type, event_at, counted_at, merchant_id, stamped_fields,"
                " is_machine_open, currency_code from analytics.events"
                " where user_id = $1 and event_type = 4 order by event_at desc limit 1",
                user,
            )
            await insert_visits(module_database.admin, user, [3], until=NOW)
            await refresh(module_database.optimizer, NOW)
            await fetch_rows(
                module_database.admin,
                "update analytics.events set received_at = now() - interval '1 hour'"
                " where event_id <> 'late'",
            )
            assert (await ask(optimizer, user, 3)).source == pb.AFFINITY_SOURCE_KEPT
    finally:
        await connection.close()
    assert (await ask(optimizer, user, 3)).source == pb.AFFINITY_SOURCE_LIVE
    async with opened(module_database.optimizer) as database:
        assert await AffinityOperations(database, now=lambda: NOW).is_anything_new()
    assert await refresh(module_database.optimizer, NOW) == "1 users scored by version 1"


async def test_old_scores_are_made_anew(
    module_database: DatabaseAddresses, optimizer: OptimizerServiceStub, tmp_path: Path
) -> None:
    settings = optimizer_settings(module_database.optimizer, tmp_path, 1)
    async with running_optimizer(settings, clock=lambda: NOW + timedelta(hours=37)) as stub:
        answer = await ask(stub, user_id(40), 3)
    assert answer.source == pb.AFFINITY_SOURCE_LIVE


async def test_certain_merchants_are_scored_for_campaigns(
    module_database: DatabaseAddresses, optimizer: OptimizerServiceStub
) -> None:
    async with opened(module_database.optimizer) as database:
        operations = AffinityOperations(database, now=lambda: NOW)
        best = await operations.get_affinity(user_id(50), 50)
        some = await operations.scores_of(user_id(50), [3, 1, 1, 99_999])
        none = await operations.scores_of(user_id(50), [])
        await fetch_rows(module_database.admin, "insert into analytics.users (user_id) values ('unmet')")
        unmet = await operations.scores_of("unmet", [3, 99_999])
    known = {merchant.merchant_id: merchant for merchant in best.merchants}
    assert some.scores == {1: pytest.approx(known[1].score), 3: pytest.approx(known[3].score)}
    assert some.explain([3])[0].reasons == known[3].reasons
    assert none.scores == {}
    assert "of this user nothing is known yet" in unmet.explain([3])[0].reasons[0]


@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        (pb.GetMerchantAffinityRequest(user_id="nobody"), "NOT_FOUND", "USER_UNKNOWN"),
        (pb.GetMerchantAffinityRequest(), "INVALID_ARGUMENT", "FIELD_REQUIRED"),
        (pb.GetMerchantAffinityRequest(user_id="x", limit=0), "INVALID_ARGUMENT", "VALUE_OUT_OF_RANGE"),
        (pb.GetMerchantAffinityRequest(user_id="x", limit=1001), "INVALID_ARGUMENT", "VALUE_OUT_OF_RANGE"),
    ],
    ids=["unknown", "no user", "none", "too many"],
)
async def test_what_cannot_be_answered_is_said(
    optimizer: OptimizerServiceStub, request_: pb.GetMerchantAffinityRequest, code: str, reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await optimizer.GetMerchantAffinity(request_)
    refusal = refusal_of(caught.value)
    assert (refusal.code, refusal.reason) == (code, reason)


async def test_a_second_fit_takes_the_place_of_the_first(
    optimizer: OptimizerServiceStub, module_database: DatabaseAddresses
) -> None:
    """The running server hears of it with its next answer; what only the first one kept is forgotten."""
    await fetch_rows(
        module_database.admin,
        "insert into optimizer.user_merchant_affinity (user_id, merchant_id, affinity_score, reasons,"
        " computed_at, model_version) values ('gone', 1, 0.5, '{x}', now(), 1)",
    )
    assert (await fit(module_database.optimizer)).startswith("version 2 is live")
    answer = await ask(optimizer, user_id(60), 3)
    assert (answer.model_version, answer.source) == (2, pb.AFFINITY_SOURCE_KEPT)
    rows = await fetch_rows(
        module_database.admin,
        "select version, status, status_reason from optimizer.affinity_models order by 1",
    )
    assert [(row["version"], row["status"]) for row in rows] == [(1, "retired"), (2, "live")]
    assert rows[0]["status_reason"] == "replaced by version 2"
    kept = await fetch_rows(
        module_database.admin,
        "select (select count(*) from optimizer.merchant_similarities where version = 1) as similarities,"
        " (select count(*) from optimizer.user_merchant_affinity where user_id = 'gone') as gone",
    )
    assert (kept[0]["similarities"], kept[0]["gone"]) == (0, 0)
