"""How long a test would take on the traffic that campaigns have."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1 import duration_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from tests.abtest_factories import (
    CONTROL_CAMPAIGN,
    VARIANT_CAMPAIGN,
    add_campaigns,
    add_events,
    refusal,
    running_server,
)

NOW = datetime(2026, 3, 30, 2, tzinfo=UTC)
DELIVERED, CONVERTED, REFUNDED = 1, 4, 5


async def estimate(stub: ABTestServiceStub, **fields: Any) -> pb.EstimateTestDurationResponse:  # noqa: ANN401
    values: dict[str, Any] = {
        "campaign_ids": [CONTROL_CAMPAIGN],
        "target_sample_size": 50,
        "lookback_days": 28,
    }
    return await stub.EstimateTestDuration(pb.EstimateTestDurationRequest(**(values | fields)))


def day(number: int) -> datetime:
    """Noon of a day before today, 1 for yesterday."""
    return NOW.replace(hour=12) - timedelta(days=number)


async def add_traffic(database: DatabaseAddresses) -> None:
    """Ten new users a day for four weeks, who come back on the next day; a tenth of them converts."""
    await add_campaigns(database.admin)
    delivered = [
        (CONTROL_CAMPAIGN, f"u{number}-{user}", day(number - again))
        for number in range(1, 29)
        for user in range(10)
        for again in (0, 1)
        if number - again > 0
    ]
    await add_events(database.admin, delivered, event_type=DELIVERED)
    await add_events(
        database.admin, [(CONTROL_CAMPAIGN, f"u{number}-0", day(number)) for number in range(1, 29)]
    )
    await add_events(database.admin, [(CONTROL_CAMPAIGN, "today", NOW), (CONTROL_CAMPAIGN, "old", day(40))])
    await add_events(database.admin, [(CONTROL_CAMPAIGN, "refunder", day(3))], event_type=REFUNDED)


async def test_the_duration_is_that_of_different_users(database: DatabaseAddresses) -> None:
    await add_traffic(database)
    async with running_server(database.abtest, now=lambda: NOW) as stub:
        answer = await estimate(stub)
        half = await estimate(stub, coverage=0.5, traffic_weights=[0.8, 0.2])
    assert (answer.required_sample_size_total, answer.required_users) == (100, 100)
    # 20 users come on the first day of a start in the middle, and 10 new ones on each day after.
    assert answer.duration_days == pytest.approx(9.0)
    assert answer.duration_days_interval.lower == pytest.approx(9.0)
    assert answer.recommended_days == 14
    assert (answer.observed_starts, answer.starts) == (20, 22)
    assert not answer.extrapolated
    assert answer.new_users_per_day == pytest.approx(10.0)
    assert (answer.users, answer.converting_users) == (280, 28)
    assert answer.conversion_rate == 0.1
    assert answer.conversion_rate_interval.lower < 0.1 < answer.conversion_rate_interval.upper
    assert (answer.start_date, answer.end_date) == ("2026-03-02", "2026-03-29")
    assert (half.required_sample_size_total, half.required_users) == (250, 500)
    assert half.extrapolated
    assert half.duration_days == pytest.approx(28 + 220 / 10)


async def test_days_are_those_of_the_reporting_time_zone(database: DatabaseAddresses) -> None:
    """At two in the morning in UTC it is still the day before in New York."""
    await add_traffic(database)
    admin = await asyncpg.connect(database.admin)
    try:
        await admin.execute(
            "insert into analytics.reporting_settings (reporting_time_zone) values ('America/New_York')"
        )
    finally:
        await admin.close()
    async with running_server(database.abtest, now=lambda: NOW) as stub:
        answer = await estimate(stub)
    assert (answer.start_date, answer.end_date) == ("2026-03-01", "2026-03-28")


async def test_a_campaign_nobody_saw_gives_no_duration(abtest: ABTestServiceStub) -> None:
    answer = await estimate(abtest, campaign_ids=[CONTROL_CAMPAIGN, VARIANT_CAMPAIGN])
    given = {field.name for field, _ in answer.ListFields()}
    assert not given & {"duration_days", "duration_days_interval", "recommended_days", "conversion_rate"}
    assert answer.users == 0
    assert answer.warnings == ["the campaigns had no users on these days: nothing can be said"]


@pytest.mark.parametrize(
    ("fields", "code", "named"),
    [
        ({"campaign_ids": []}, grpc.StatusCode.INVALID_ARGUMENT, "campaign_ids"),
        ({"campaign_ids": ["a", ""]}, grpc.StatusCode.INVALID_ARGUMENT, "campaign_ids[1]"),
        ({"campaign_ids": [str(n) for n in range(11)]}, grpc.StatusCode.INVALID_ARGUMENT, "campaign_ids"),
        ({"target_sample_size": 1}, grpc.StatusCode.INVALID_ARGUMENT, "target_sample_size"),
        ({"traffic_weights": [1.0]}, grpc.StatusCode.INVALID_ARGUMENT, "traffic_weights"),
        ({"traffic_weights": [0.5, 0.4]}, grpc.StatusCode.INVALID_ARGUMENT, "traffic_weights"),
        ({"coverage": 0.0}, grpc.StatusCode.INVALID_ARGUMENT, "coverage"),
        ({"lookback_days": 6}, grpc.StatusCode.INVALID_ARGUMENT, "lookback_days"),
        ({"campaign_ids": [CONTROL_CAMPAIGN, "none"]}, grpc.StatusCode.NOT_FOUND, "campaign_ids[1]"),
    ],
)
async def test_what_is_wrong_is_named_by_field(
    abtest: ABTestServiceStub, fields: dict[str, Any], code: grpc.StatusCode, named: str
) -> None:
    got, _, violations = await refusal(estimate(abtest, **fields))
    assert (got, set(violations)) == (code, {named})
