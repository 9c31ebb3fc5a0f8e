"""GetSegmentRecommendations through a real server: descriptive, by tests, and by drawn offers."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import grpc
import numpy as np
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import segments_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from services.optimizer.store import segments
from tests.contract.optimizer.event_log import (
    CONVERTED,
    DELIVERED,
    Event,
    insert_campaigns,
    insert_events,
    insert_segment_sets,
)
from tests.contract.optimizer.harness import NOON, optimizer_settings, refusal_of, running_optimizer

STARTED = datetime(2026, 11, 1, 9, tzinfo=UTC)


@pytest.fixture
async def stub(database: DatabaseAddresses, tmp_path: Path) -> AsyncIterator[OptimizerServiceStub]:
    await insert_campaigns(database.admin, ["c1", "c2"])
    await insert_campaigns(database.admin, ["plain"], campaign_type=2)
    await insert_campaigns(database.admin, ["untyped"], campaign_type=None)
    async with running_optimizer(
        optimizer_settings(database.optimizer, tmp_path, 1), clock=lambda: NOON
    ) as running:
        yield running


async def insert_measures(admin: str) -> None:
    """Loyal users convert twice as often as their campaigns, lapsed ones half as often."""
    connection = await asyncpg.connect(admin)
    try:
        for campaign, rate in (("c1", 0.1), ("c2", 0.4)):
            await connection.execute(
                "insert into analytics.campaign_delivery_daily values"
                " ($1, '2026-11-05', 10000000, 1, 1, 1000, 1000, 0, $2, 0, 0, 0, 0, 0, 0)",
                campaign,
                round(1000 * rate),
            )
            for segment, times in (("loyal", 2.0), ("lapsed", 0.5), ("", 1.0)):
                bought = round(200 * rate * times)
                await connection.execute(
                    "insert into analytics.campaign_segment_moments values"
                    " ($1, 'given', $2, 200, 0, 200, 200, 0, $3, 0, 0, 200, 200, 0, 200, $3, 0, $3, 0, 0, 0)",
                    campaign,
                    segment,
                    bought,
                )
    finally:
        await connection.close()


async def recommend(stub: OptimizerServiceStub, campaign_id: str) -> pb.GetSegmentRecommendationsResponse:
    return await stub.GetSegmentRecommendations(pb.GetSegmentRecommendationsRequest(campaign_id=campaign_id))


async def test_without_a_control_segments_are_described(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    await insert_measures(database.admin)
    answer = await recommend(stub, "c1")
    assert [(each.rank, each.segment_name, each.basis) for each in answer.segments] == [
        (1, "loyal", "none"),
        (2, "lapsed", "none"),
    ]
    best = answer.segments[0]
    assert best.relative_conversion_rate == pytest.approx(2.0)
    assert best.conversion_rate == pytest.approx(0.5)
    assert best.expected_conversion_rate == pytest.approx(0.25)
    assert best.conversion_rate_interval.lower < 0.5 < best.conversion_rate_interval.upper
    assert best.users == 400
    assert not best.HasField("uplift")
    assert best.evidence.startswith("Descriptive")
    assert "A/B test" in answer.warnings[0]


async def insert_audiences(admin: str, sets: list[int]) -> None:
    """Of c1's unsegmented viewers a tenth convert at 5, three in ten at 15.

    Loyal users viewed the lower offer alone, of whom a fifth convert; lapsed ones the higher, a twentieth.
    """
    connection = await asyncpg.connect(admin)
    try:
        await connection.execute("delete from analytics.campaign_delivery_daily where campaign_id = 'c1'")
        for offer, bought in ((5_000_000, 30 + 40), (15_000_000, 90 + 10)):
            await connection.execute(
                "insert into analytics.campaign_delivery_daily values"
                " ('c1', '2026-11-05', $1, 1, 1, 500, 500, 0, $2, 0, 0, 0, 0, 0, 0)",
                offer,
                bought,
            )
        await connection.execute(
            "insert into optimizer.ml_models (model_name, version, status, status_reason, status_changed_at,"
            " code_version, trained_at, training_seconds, first_day, split_day, end_day, fitted_rows,"
            " held_out_rows, views, conversions, mae, global_mean_mae, type_mean_mae, parity_error,"
            " serving_parameters) values ('conversion', 1, 'live', '', $1, '', $1, 1, '2026-08-01',"
            " '2026-10-01', '2026-11-01', 1, 1, 1, 1, 0, 0, 0, 0, '{}')",
            STARTED,
        )
        await connection.executemany(
            "insert into optimizer.campaign_audiences values ('c1', $1, $2, $3, 'conversion', 1)",
            [
                (5_000_000, sets[0], 200),
                (15_000_000, sets[1], 200),
                (5_000_000, 0, 300),
                (15_000_000, 0, 300),
            ],
        )
    finally:
        await connection.close()


async def test_segments_are_compared_at_the_offers_they_were_sent(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    """What is expected is what all who viewed the campaign would do at the segment's offers, where counted.

    The rates seen at the offers, 0.14 and 0.2, are of those who were sent them: loyal users would be held
    against 0.14 which is mostly their own, though everybody makes less at 5.
    """
    await insert_measures(database.admin)
    sets = await insert_segment_sets(database.admin, [["loyal"], ["lapsed"]])
    await insert_audiences(database.admin, sets)
    by_name = {each.segment_name: each for each in (await recommend(stub, "c1")).segments}
    # Odds ratios: loyal (1/4) / (1/9) = 2.25, lapsed (1/19) / (3/7) = 0.123. At 5, 200 loyal users make 0.2,
    # 600 others 0.1 and 200 lapsed 0.0135, at 15 these make 0.491, 0.3 and 0.05. c2: 0.4.
    at_low, at_high = 0.2 * 0.2 + 0.6 * 0.1 + 0.2 * 0.0135, 0.2 * 0.491 + 0.6 * 0.3 + 0.2 * 0.05
    # The prior draws effects a little towards none.
    loyal, lapsed = by_name["loyal"], by_name["lapsed"]
    assert loyal.expected_conversion_rate == pytest.approx((at_low + 0.4) / 2, abs=0.003)
    assert lapsed.expected_conversion_rate == pytest.approx((at_high + 0.4) / 2, abs=0.003)
    assert lapsed.relative_conversion_rate == pytest.approx(0.125 / lapsed.expected_conversion_rate)
    for each in (loyal, lapsed):
        interval = each.expected_conversion_rate_interval
        assert 0.0 < interval.lower < each.expected_conversion_rate < interval.upper < 1.0


async def test_campaigns_of_too_many_viewers_count_at_their_own_rate(
    stub: OptimizerServiceStub, database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """c1 has four rows of them, and 0.17 of its views convert; at 5 fewer do, by 0.006 in the mean."""
    await insert_measures(database.admin)
    sets = await insert_segment_sets(database.admin, [["loyal"], ["lapsed"]])
    await insert_audiences(database.admin, sets)
    for most, expected in ((4, 0.251), (3, (0.17 + 0.4) / 2)):
        monkeypatch.setattr(segments, "MOST_VIEWERS", most)
        by_name = {each.segment_name: each for each in (await recommend(stub, "c1")).segments}
        assert by_name["loyal"].expected_conversion_rate == pytest.approx(expected, abs=0.003)


async def insert_test(admin: str, sets: list[int]) -> None:
    """A test of c1 against `plain`, in which lapsed users are moved and loyal ones are not."""
    connection = await asyncpg.connect(admin)
    try:
        await connection.execute(
            "insert into abtest.ab_tests (test_id, test_name, status, decision_method, target_sample_size,"
            " confidence_level, hash_seed, current_epoch, created_at, started_at)"
            " values ('t', 't', 1, 1, 1000, 0.95, 's', 1, $1, $1)",
            STARTED,
        )
        await connection.execute(
            "insert into abtest.ab_test_groups (test_id, group_index, group_name, campaign_id) values"
            " ('t', 0, 'control', 'plain'), ('t', 1, 'variant', 'c1')"
        )
        users = [
            (f"{side}-{segment}-{place}", "t", STARTED, 0.5, 1, side, sets[segment])
            for side in (0, 1)
            for segment in (0, 1)
            for place in range(200)
        ]
        await connection.executemany(
            "insert into abtest.ab_test_assignments (user_id, test_id, assigned_at, propensity, epoch,"
            " group_index, segment_set_id) values ($1, $2, $3, $4, $5, $6, $7)",
            users,
        )
    finally:
        await connection.close()
    bought = {(0, 0): 80, (1, 0): 80, (0, 1): 20, (1, 1): 60}
    await insert_events(
        admin,
        [
            Event(
                user_id=f"{side}-{segment}-{place}",
                event_id="b",
                event_type=CONVERTED,
                at=STARTED + timedelta(hours=place),
                campaign_id="c1" if side else "plain",
            )
            for (side, segment), count in bought.items()
            for place in range(count)
        ],
    )
    # What came before the assignment, or in another campaign, is no conversion of the group.
    await insert_events(
        admin,
        [
            Event(user_id="1-0-150", event_id="x", event_type=CONVERTED, at=STARTED - timedelta(hours=1)),
            Event(user_id="0-1-150", event_id="x", event_type=CONVERTED, at=STARTED, campaign_id="c2"),
        ],
    )


async def test_a_test_ranks_segments_by_what_it_moves(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    await insert_measures(database.admin)
    await insert_test(database.admin, await insert_segment_sets(database.admin, [["loyal"], ["lapsed"]]))
    answer = await recommend(stub, "c1")
    assert [(each.segment_name, each.basis) for each in answer.segments] == [
        ("lapsed", "ab_test"),
        ("loyal", "ab_test"),
    ]
    lapsed, loyal = answer.segments
    assert lapsed.uplift == pytest.approx(0.2)
    assert 0.1 < lapsed.uplift_interval.lower < 0.2 < lapsed.uplift_interval.upper < 0.3
    assert loyal.uplift == pytest.approx(0.0)
    assert "200 against 200 users" in loyal.evidence
    assert f"test t (variant variant against plain, {STARTED:%Y-%m-%d %H:%M} to now UTC)" in loyal.evidence
    # What one campaign adds says nothing sure of another of its type.
    assert {each.basis for each in (await recommend(stub, "c2")).segments} == {"none"}


async def test_drawn_offers_rank_segments_by_what_a_higher_one_adds(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    await insert_measures(database.admin)
    loyal, lapsed = await insert_segment_sets(database.admin, [["loyal"], ["lapsed"]])
    rng, events = np.random.default_rng(5), []
    for place in range(600):
        user, offer = f"u{place}", float(rng.choice([5, 20]))
        at, segment = STARTED + timedelta(hours=place % 100), (loyal, lapsed)[place % 2]
        events.append(
            Event(
                user_id=user,
                event_id="d",
                event_type=DELIVERED,
                at=at,
                offer=offer,
                propensity=0.5,
                segment_set=segment,
            )
        )
        if rng.random() < 0.2 + 0.4 * (segment == lapsed and offer > 5):
            events.append(
                Event(user_id=user, event_id="c", event_type=CONVERTED, at=at + timedelta(minutes=5))
            )
    await insert_events(database.admin, events)
    answer = await recommend(stub, "c1")
    best, other = answer.segments
    assert (best.segment_name, best.basis) == ("lapsed", "randomised_offers")
    assert best.uplift == pytest.approx(0.4, abs=0.12)
    assert best.uplift_interval.lower > 0.2
    assert other.uplift_interval.lower < 0 < other.uplift_interval.upper
    assert "highest over the lowest offer" in best.evidence


@pytest.mark.parametrize(
    ("campaign_id", "code", "reason"),
    [
        ("", "INVALID_ARGUMENT", "FIELD_REQUIRED"),
        ("x" * 129, "INVALID_ARGUMENT", "TEXT_INVALID"),
        ("nobody", "NOT_FOUND", "CAMPAIGN_UNKNOWN"),
        ("untyped", "FAILED_PRECONDITION", "SEGMENTS_UNKNOWN"),
        ("plain", "FAILED_PRECONDITION", "SEGMENTS_UNKNOWN"),
    ],
)
async def test_what_cannot_be_said_is_refused(
    stub: OptimizerServiceStub, campaign_id: str, code: str, reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await recommend(stub, campaign_id)
    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason) == (code, reason)
