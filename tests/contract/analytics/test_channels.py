"""Campaigns by delivery channel, through a real server and stub."""

from typing import Any

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from gen.campaigns.type.v1.campaign_pb2 import CHANNEL_EMAIL, CHANNEL_PUSH, CHANNEL_UNSPECIFIED
from services.analytics.operations import channels as operations
from tests.analytics_factories import Stubs, event, ingest, refusal


def channels_of(stubs: Stubs, campaign_id: str = "c1", **days: str) -> Any:  # noqa: ANN401 (a call)
    request = pb.GetCampaignChannelsRequest(campaign_id=campaign_id, **days)
    return stubs.analytics.GetCampaignChannels(request)


async def add_two_channels(stubs: Stubs) -> None:
    """Twelve users by push on March 1, half of whom view and a quarter convert; six by e-mail on March 2."""
    for n in range(12):
        common: dict[str, Any] = {"user_id": f"u{n}", "channel": CHANNEL_PUSH}
        events = [event("d", cost=0.5, **common), event("n", "NOTIFICATION_DELIVERED", **common)]
        if n % 2 == 0:
            events.append(event("v", "VIEWED", **common))
        if n % 4 == 0:
            events.append(event("b", "CONVERTED", revenue=4 + n, **common))
            events.append(event("o", "NOTIFICATION_OPENED", **common))
        await ingest(stubs, *events)
    second: dict[str, Any] = {"event_time": "2026-03-02T10:00:00+00:00", "channel": CHANNEL_EMAIL}
    for n in range(6):
        await ingest(stubs, event("e", user_id=f"u{n}", **second))


async def test_each_channel_has_its_counts_and_rates(stubs: Stubs, database: DatabaseAddresses) -> None:
    await add_two_channels(stubs)
    connection = await asyncpg.connect(database.admin)
    try:
        await connection.executemany(
            "insert into analytics.campaign_daily_costs values ('c1', '2026-03-02', $1, 'USD', $2)",
            [(CHANNEL_EMAIL, 3_000_000), (CHANNEL_UNSPECIFIED, 1_000_000)],
        )
    finally:
        await connection.close()
    answer = await channels_of(stubs)
    assert (answer.campaign_id, answer.currency_code) == ("c1", "USD")
    assert not answer.HasField("date_range")
    assert answer.interval_method == "user_delta_method"
    unknown, push, mail = answer.channels
    assert [unknown.channel, push.channel, mail.channel] == [
        CHANNEL_UNSPECIFIED,
        CHANNEL_PUSH,
        CHANNEL_EMAIL,
    ]
    assert (unknown.cost, unknown.impressions, unknown.HasField("view_rate")) == (1, 0, False)
    assert (push.impressions, push.views, push.conversions, push.revenue, push.cost) == (12, 6, 3, 24, 6)
    assert (push.notification_deliveries, push.notification_opens) == (12, 3)
    assert (push.view_rate, push.conversion_rate, push.roas) == (0.5, 0.5, 4.0)
    for name in ("view_rate", "conversion_rate", "notification_open_rate", "roas"):
        interval = getattr(push, f"{name}_interval")
        assert interval.lower < getattr(push, name) < interval.upper, name
    assert (mail.impressions, mail.views, mail.cost, mail.roas) == (6, 0, 3, 0)
    assert not mail.HasField("roas_interval")
    assert 0 == mail.view_rate_interval.lower < mail.view_rate_interval.upper < 1


async def test_days_choose_what_is_counted(stubs: Stubs) -> None:
    await add_two_channels(stubs)
    second = await channels_of(stubs, start_date="2026-03-02")
    assert [(c.channel, c.impressions) for c in second.channels] == [(CHANNEL_EMAIL, 6)]
    assert (second.date_range.start_date, second.date_range.end_date) == ("2026-03-02", "2026-03-02")
    assert list((await channels_of(stubs, end_date="2026-02-01")).channels) == []
    assert list((await channels_of(stubs, "c2")).channels) == []


async def test_the_only_channel_has_the_intervals_of_the_campaign(stubs: Stubs) -> None:
    for n in range(10):
        common: dict[str, Any] = {"user_id": f"u{n}", "channel": CHANNEL_PUSH}
        await ingest(stubs, event("d", cost=1, **common), event("v", "VIEWED", **common))
        if n % 3 == 0:
            await ingest(stubs, event("b", "CONVERTED", revenue=5 + n, **common))
    (push,) = (await channels_of(stubs)).channels
    metrics = await stubs.analytics.GetCampaignMetrics(pb.GetCampaignMetricsRequest(campaign_id="c1"))
    assert push.conversion_rate_interval == metrics.conversion_rate_interval
    assert push.roas_interval == metrics.roas_interval


async def test_a_channels_intervals_are_those_of_a_campaign_of_its_events_alone(
    unkept_stubs: Stubs, database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few users with many views by push beside many with one by e-mail: c2 has what c1 has by push."""
    for n in range(40):
        mail: dict[str, Any] = {"user_id": f"m{n}", "channel": CHANNEL_EMAIL}
        await ingest(unkept_stubs, event("d", cost=1, **mail), event("v", "VIEWED", **mail))
    for n in range(6):
        for name in ("c1", "c2"):
            common: dict[str, Any] = {"user_id": f"p{n}", "channel": CHANNEL_PUSH, "campaign_id": name}
            events = [event(f"{name}d{i}", cost=0.5, **common) for i in range(8)]
            events += [event(f"{name}v{i}", "VIEWED", **common) for i in range(6)]
            events += [event(f"{name}s{i}", "CONVERTED", revenue=5 + n, **common) for i in range(n)]
            events.append(
                event(
                    f"{name}n",
                    "NOTIFICATION_DELIVERED",
                    **common | {"event_time": "2026-02-20T10:00:00+00:00"},
                )
            )
            if n == 5:
                refund = {**common, "event_time": "2026-03-09T10:00:00+00:00"}
                events.append(
                    event(f"{name}r", "REFUNDED", revenue=3, original_event_id=f"{name}s0", **refund)
                )
            await ingest(unkept_stubs, *events)
    answer = await channels_of(unkept_stubs)
    assert answer.interval_method == "user_delta_method"
    push, mail_alone = answer.channels
    alone = await unkept_stubs.analytics.GetCampaignMetrics(pb.GetCampaignMetricsRequest(campaign_id="c2"))
    for name in ("view_rate", "ctr", "conversion_rate", "notification_open_rate", "roas"):
        assert getattr(push, name) == getattr(alone, name)
        assert getattr(push, f"{name}_interval") == getattr(alone, f"{name}_interval"), name
    assert mail_alone.conversion_rate == 0

    monkeypatch.setattr(operations, "MAXIMUM_EXACT_EVENTS", 10)
    borrowed = await channels_of(unkept_stubs)
    assert borrowed.interval_method == "design_effect"
    assert borrowed.channels[0].views == push.views
    assert borrowed.channels[0].view_rate_interval != push.view_rate_interval
    monkeypatch.undo()
    connection = await asyncpg.connect(database.admin)
    try:
        await connection.execute("update analytics.reporting_settings set sealed_through = '2026-02-20'")
    finally:
        await connection.close()
    assert (await channels_of(unkept_stubs)).interval_method == "design_effect"
    kept = await channels_of(unkept_stubs, start_date="2026-02-21")
    assert kept.interval_method == "user_delta_method"
    assert kept.channels[0].view_rate_interval == push.view_rate_interval


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"campaign_id": ""}, {"campaign_id": "FIELD_REQUIRED"}),
        ({"start_date": "March"}, {"start_date": "DATE_INVALID"}),
        ({"start_date": "2026-03-02", "end_date": "2026-03-01"}, {"end_date": "RANGE_REVERSED"}),
    ],
)
async def test_a_bad_question_of_channels_is_refused_by_field(
    stubs: Stubs, fields: dict[str, str], expected: dict[str, str]
) -> None:
    refused = await refusal(channels_of(stubs, **{"campaign_id": "c1", **fields}))
    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", expected)
    unknown = await refusal(channels_of(stubs, "nobody"))
    assert (unknown.code, unknown.reason) == ("NOT_FOUND", "CAMPAIGN_UNKNOWN")
