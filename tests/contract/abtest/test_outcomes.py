"""What users did after their assignment, through the service: metrics, breakdowns, kept analyses, files."""

from datetime import timedelta

import grpc
import pytest

from gen.campaigns.abtest.v1 import metrics_pb2, results_pb2
from tests.abtest_factories import (
    CONTROL_CAMPAIGN,
    VARIANT_CAMPAIGN,
    refusal,
)
from tests.contract.abtest.outcomes_stand import (
    BEGIN,
    CLICKED,
    CONVERTED,
    DELIVERED,
    REVENUE,
    USERS,
    Service,
    event,
)
from tests.outcome_world import REFUNDED


def refund(user: str, *, after: timedelta, micros: int) -> tuple[object, ...]:
    """A refund long after its original, which came so long after the assignment."""
    counted = event(user, REFUNDED, after=after, micros=micros)
    return (*counted[:4], BEGIN + timedelta(days=60), counted[5], micros)


CTR = metrics_pb2.Metric(metric_type="ratio", numerator="clicks", denominator="impressions")


async def test_money_counts_within_the_window_less_refunds(
    service: Service,
) -> None:
    primary = metrics_pb2.Metric(metric_type="revenue_per_user", window_hours=48)
    test_id, control, variant = await service.start(primary_metric=primary)
    day = timedelta(days=1)
    await service.add(
        *(event(user, CONVERTED, micros=10_000_000) for user in control[:60]),
        *(event(user, CONVERTED, micros=14_000_000) for user in variant[:80]),
        *(event(user, CONVERTED, after=3 * day, micros=900_000_000) for user in variant[:80]),
        *(event(user, CONVERTED, after=-day, micros=900_000_000) for user in variant[:80]),
        *(refund(user, after=timedelta(hours=1), micros=14_000_000) for user in variant[:20]),
        *(refund(user, after=-day, micros=900_000_000) for user in variant[:20]),
    )
    result = await service.analyze(test_id)
    control_group, variant_group = result.metrics[0].groups
    assert (control_group.total, variant_group.total) == (600.0, 60 * 14.0)
    assert variant_group.value == pytest.approx(60 * 14.0 / 200)
    assert result.method == "welch_t"
    assert result.absolute_lift == pytest.approx(variant_group.value - control_group.value)
    # Who has converted at all, whatever the metric and its window.
    assert [group.conversions for group in result.groups] == [60, 80]
    assert any("window is still open" in warning for warning in result.warnings)
    service.now = BEGIN + timedelta(hours=USERS + 48)
    later = await service.analyze(test_id)
    assert not any("window is still open" in warning for warning in later.warnings)


async def test_late_events_count_as_if_they_had_come_in_time(service: Service) -> None:
    test_id, control, variant = await service.start()
    await service.add(*(event(user, CONVERTED) for user in control[:20]))
    first = await service.analyze(test_id)
    assert [group.conversions for group in first.groups] == [20, 0]
    again = await service.analyze(test_id)
    assert again == first  # the same outcomes are the same analysis
    await service.add(*(event(user, CONVERTED) for user in variant[:30]))
    second = await service.analyze(test_id)
    assert [group.conversions for group in second.groups] == [20, 30]
    assert (first.result_number, second.result_number) == (1, 2)


async def test_every_metric_has_its_method_and_its_role(service: Service) -> None:
    guardrail = metrics_pb2.Metric(metric_type="ratio", numerator="conversions", denominator="impressions")
    guardrail.non_inferiority_margin = 0.2
    custom = metrics_pb2.Metric(metric_type="custom_event", custom_event_name="share")
    test_id, control, variant = await service.start(
        secondary_metrics=[REVENUE, CTR, custom], guardrail_metrics=[guardrail]
    )
    everybody = [*control, *variant]
    await service.add(
        *(event(user, DELIVERED) for user in everybody),
        *(event(user, CLICKED) for user in [*control[:40], *variant[:60]]),
        *(event(user, CONVERTED, micros=5_000_000) for user in [*control[:50], *variant[:52]]),
    )
    result = await service.analyze(test_id)
    assert [(each.metric_type, each.role) for each in result.metrics] == [
        ("conversion", "primary"),
        ("revenue_per_user", "secondary"),
        ("ratio", "secondary"),
        ("custom_event", "secondary"),
        ("ratio", "guardrail"),
    ]
    methods = [each.comparisons[0].method for each in result.metrics]
    assert methods == ["pearson_chi_squared", "welch_t_winsorized", "delta_method_t", "", "delta_method_t"]
    assert result.metrics[1].winsorize_cap == 5.0
    assert [group.value for group in result.metrics[2].groups] == [0.2, 0.3]
    assert result.metrics[2].groups[0].denominator_total == 200.0
    assert result.metrics[3].no_data_reason == "no user has an event that the metric counts"
    kept = result.metrics[4].comparisons[0]
    assert kept.guardrail_status in ("kept", "unsure")
    assert 0.0 < kept.non_inferiority_p_value < 1.0
    assert result.probability_to_beat_control == pytest.approx(0.59, abs=0.02)
    cited = {each.field: each.method for each in result.number_methods}
    assert cited["absolute_lift_interval"] == "newcombe_hybrid_score"
    assert all(each.citation for each in result.number_methods)


async def test_yates_is_for_who_asks(service: Service) -> None:
    test_id, control, variant = await service.start()
    await service.add(*(event(user, CONVERTED) for user in [*control[:30], *variant[:45]]))
    plain = await service.analyze(test_id)
    corrected = await service.analyze(test_id, yates_correction=True)
    assert (plain.method, corrected.method) == ("pearson_chi_squared", "pearson_chi_squared_yates")
    assert corrected.p_value > plain.p_value
    assert (corrected.verdict, corrected.result_number) == (plain.verdict, plain.result_number + 1)


async def test_breakdowns_are_for_who_asks_and_kept_with_the_end(service: Service) -> None:
    test_id, control, variant = await service.start()
    await service.execute("insert into analytics.segment_sets (segments) values (array['new', 'vip'])")
    await service.execute(
        "update abtest.ab_test_assignments set segment_set_id = (select segment_set_id"
        " from analytics.segment_sets) where right(user_id, 1) < '4'"
    )
    await service.add(*(event(user, CONVERTED) for user in [*control[:30], *variant[:45]]))
    service.now = BEGIN + timedelta(hours=USERS + 72)
    plain = await service.analyze(test_id)
    assert not plain.HasField("segment_breakdown")
    assert not plain.HasField("novelty")
    assert [each.scope for each in plain.sample_ratio_checks] == ["overall"]
    broken = await service.analyze(test_id, breakdowns=["segment", "days_since_exposure"])
    segments = broken.segment_breakdown.segments
    assert [(each.segment_name, each.groups[0].users) for each in segments] == [
        ("", 120),
        ("new", 80),
        ("vip", 80),
    ]
    assert sum(int(each.groups[0].total) for each in segments[:2]) == 30
    assert [each.status for each in broken.sample_ratio_checks] == ["fits"] * 4
    day = broken.novelty.days[0]
    assert [(each.users, each.total) for each in day.groups] == [(200, 30.0), (200, 45.0)]
    assert broken.novelty.days[1].groups[0].users == 170
    await service.stub.EndTest(results_pb2.EndTestRequest(test_id=test_id))
    kept = await service.analyze(test_id, breakdowns=["segment"])
    assert kept.segment_breakdown == broken.segment_breakdown
    assert not kept.HasField("novelty")
    assert not (await service.analyze(test_id)).HasField("segment_breakdown")


async def test_planned_looks_are_taken_once_and_stay(service: Service) -> None:
    test_id, control, variant = await service.start(decision_method="group_sequential", planned_looks=4)
    await service.add(*(event(user, CONVERTED) for user in [*control[:30], *variant[:80]]))
    looked = await service.analyze(test_id)
    assert (looked.verdict, looked.winner, looked.look_number) == ("ship", "variant", 1)
    assert looked.information_fraction == 1.0
    await service.add(*(event(user, CONVERTED) for user in control[30:]))
    later = await service.analyze(test_id)
    assert (later.verdict, later.winner) == ("ship", "variant")
    assert later.groups[0].conversions == 200
    assert later.look_number == 1


async def test_users_beyond_a_fixed_horizon_do_not_decide(service: Service) -> None:
    test_id, control, variant = await service.start(decision_method="fixed_horizon")
    await service.execute("update abtest.ab_tests set target_sample_size = 100")
    await service.add(*(event(user, CONVERTED) for user in [*control[:20], *variant[:21], *variant[120:]]))
    result = await service.analyze(test_id)
    assert (result.verdict, result.HasField("winner")) == ("stop", False)
    assert result.p_value < 0.001
    assert any("200 users were assigned after every group had its target" in each for each in result.warnings)


async def test_dropped_events_leave_no_verdict(service: Service) -> None:
    test_id, control, variant = await service.start()
    await service.add(*(event(user, CONVERTED) for user in [*control[:10], *variant[:90]]))
    await service.execute(
        "insert into analytics.reporting_settings (reporting_time_zone, sealed_through)"
        " values ('UTC', '2026-03-05') on conflict (singleton) do update set sealed_through = '2026-03-05'"
    )
    result = await service.analyze(test_id)
    assert (result.verdict, result.HasField("winner")) == ("invalid", False)
    assert "events before 2026-03-06" in result.reasons[0]


async def test_amounts_of_two_currencies_are_not_compared(service: Service) -> None:
    test_id, control, _ = await service.start(secondary_metrics=[REVENUE])
    await service.add(*(event(user, CONVERTED, micros=5_000_000) for user in control[:50]))
    await service.execute(
        "update analytics.campaigns set counted_currency_code ="
        " case campaign_id when $1 then 'EUR' else 'USD' end where campaign_id in ($1, $2)",
        CONTROL_CAMPAIGN,
        VARIANT_CAMPAIGN,
    )
    ended = await service.stub.EndTest(results_pb2.EndTestRequest(test_id=test_id))
    money = ended.metrics[1]
    assert money.no_data_reason == "the groups' campaigns count in EUR and USD"
    assert [group.HasField("value") for group in money.groups] == [False, False]
    assert not money.comparisons[0].HasField("absolute_lift")
    assert ended.groups[0].conversions == 50
    assert any("metric revenue_per_user has no data" in warning for warning in ended.warnings)


async def test_an_unknown_breakdown_is_named(service: Service) -> None:
    test_id, _, _ = await service.start()
    code, _, fields = await refusal(service.analyze(test_id, breakdowns=["segment", "moon"]))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert fields == {"breakdowns[1]": "must be one of segment, days_since_exposure"}


async def test_money_of_two_currencies_decides_nothing(service: Service) -> None:
    test_id, control, _ = await service.start(primary_metric=REVENUE)
    await service.add(*(event(user, CONVERTED, micros=5_000_000) for user in control[:50]))
    await service.execute(
        "update analytics.campaigns set counted_currency_code = left(campaign_id, 8) where $1 <> ''", test_id
    )
    result = await service.analyze(test_id, breakdowns=["segment"])
    assert (result.verdict, result.HasField("winner")) == ("stop", False)
    assert not result.segment_breakdown.segments
    assert result.metrics[0].no_data_reason


async def test_a_verdict_centuries_away_is_not_expected(service: Service) -> None:
    test_id, _, _ = await service.start(users=2)
    await service.execute("update abtest.ab_tests set target_sample_size = 1000000000")
    service.now = BEGIN + timedelta(days=3)
    result = await service.analyze(test_id)
    assert result.time_to_decision.remaining_users == 2_000_000_000 - 2
    assert not result.time_to_decision.HasField("expected_days")
