"""GetCampaignSegments through a real server and a real stub."""

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import audience_pb2 as pb
from gen.campaigns.analytics.v1 import catalog_service_pb2
from services.analytics.server import open_database
from services.analytics.store.statements import STATEMENTS
from tests.analytics_factories import (
    Stubs,
    add_catalog,
    campaign,
    event,
    ingest,
    refusal,
    running_server,
    settings_for,
)
from tests.audience_factories import AudienceJobs
from tests.plans import explain


async def add_users(stubs: Stubs, **segments: list[str]) -> None:
    """Keep users of these segments; a user that is not named is unsegmented."""
    await stubs.catalog.UpsertUsers(
        catalog_service_pb2.UpsertUsersRequest(
            users=[catalog_service_pb2.User(user_id=user, segments=names) for user, names in segments.items()]
        )
    )


async def ask(
    stubs: Stubs, campaign_id: str = "c1", segmentation: str = "", metric: str = ""
) -> pb.GetCampaignSegmentsResponse:
    return await stubs.analytics.GetCampaignSegments(
        pb.GetCampaignSegmentsRequest(campaign_id=campaign_id, segmentation=segmentation, metric=metric)
    )


async def send_two_segments(stubs: Stubs) -> None:
    """u1 is of both segments, u2 of `b` alone, u3 of none and never views."""
    await add_catalog(stubs)
    await add_users(stubs, u1=["a", "b"], u2=["b"])
    await ingest(
        stubs,
        *[event(f"v{n}", "VIEWED", user_id=user) for n, user in enumerate(["u1", "u1", "u2", "u2"])],
        event("d", user_id="u1", cost=0.5),
        event("k", "CLICKED", user_id="u1"),
        event("s1", "CONVERTED", user_id="u1", revenue=10),
        event("s2", "CONVERTED", user_id="u2", revenue=30),
        event("s3", "CONVERTED", user_id="u1", revenue=20),
        event("x", user_id="u3"),
    )


async def test_segments_are_ranked_with_their_rates_and_intervals(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics) as stubs:
        await send_two_segments(stubs)
        answer = await ask(stubs)
        by_revenue = await ask(stubs, metric="avg_revenue")
    assert (answer.campaign_id, answer.currency_code, answer.segmentation) == ("c1", "USD", "given")
    assert not answer.HasField("as_of")
    assert answer.interval_method == "user_delta_method"
    assert [(s.rank, s.segment_name) for s in answer.segments] == [(1, "a"), (2, "b"), (3, "")]
    first, second, none = answer.segments
    assert (first.views, first.conversions, first.revenue, first.cost) == (2, 2, 30.0, 0.5)
    assert (first.conversion_rate, first.avg_revenue, first.view_rate, first.ctr) == (1.0, 15.0, 2.0, 1.0)
    assert not first.HasField("conversion_rate_interval"), "one user alone"
    assert (second.views, second.conversions, second.conversion_rate, second.avg_revenue) == (
        4,
        3,
        0.75,
        20.0,
    )
    assert second.conversion_rate_interval.lower < 0.75 < second.conversion_rate_interval.upper
    assert second.avg_revenue_interval.lower < 20 < second.avg_revenue_interval.upper
    assert (none.impressions, none.views) == (1, 0)
    assert not none.HasField("conversion_rate")
    assert not none.HasField("avg_revenue")
    assert [s.segment_name for s in by_revenue.segments] == ["b", "a", ""]


async def test_the_job_lends_its_measure_to_later_counts(database: DatabaseAddresses) -> None:
    async with (
        running_server(database.analytics) as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await send_two_segments(stubs)
        at_once = await ask(stubs)
        jobs = AudienceJobs.of(own)
        assert await jobs.segments.refresh() == 1
        assert await jobs.segments.refresh() == 0, "it did not grow"
        measured = await ask(stubs)
        assert measured == at_once, "what is counted at the request and what the job keeps is the same"
        await ingest(stubs, *[event(f"w{n}", "VIEWED", user_id="u2") for n in range(4)])
        grown = await ask(stubs)
        assert await jobs.segments.refresh() == 1
        after = await ask(stubs)
    assert grown.interval_method == "design_effect"
    assert after.interval_method == "user_delta_method"
    b_grown, b_after = (next(s for s in a.segments if s.segment_name == "b") for a in (grown, after))
    assert b_grown.conversion_rate == b_after.conversion_rate == 3 / 8
    assert b_grown.HasField("conversion_rate_interval")
    assert b_grown.conversion_rate_interval != b_after.conversion_rate_interval


async def test_a_segment_not_measured_yet_has_no_interval_in_a_large_campaign(
    database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.analytics.operations.segments.MAXIMUM_EVENTS_AT_ONCE", 5)
    async with running_server(database.analytics) as stubs:
        await send_two_segments(stubs)
        answer = await ask(stubs)
    second = answer.segments[1]
    assert second.conversion_rate == 0.75
    assert not second.HasField("conversion_rate_interval")
    assert not second.HasField("avg_revenue_interval")
    assert answer.interval_method == "design_effect"


async def test_segments_by_recency_frequency_and_money(database: DatabaseAddresses) -> None:
    async with (
        running_server(database.analytics) as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await send_two_segments(stubs)
        before = await ask(stubs, segmentation="rfm")
        await AudienceJobs.of(own).run()
        answer = await ask(stubs, segmentation="rfm", metric="impressions")
    assert not before.segments
    assert not before.HasField("as_of")
    assert answer.HasField("as_of")
    assert answer.segmentation == "rfm"
    # u3 bought nothing. u1 and u2 bought on one day and for the same money, u1 more often: 5/3/1 and 5/1/1.
    assert {s.segment_name: (s.impressions, s.conversions, s.revenue) for s in answer.segments} == {
        "no_purchase": (1, 0, 0.0),
        "potential_loyalists": (1, 2, 30.0),
        "new": (0, 1, 30.0),
    }


async def test_an_order_that_turns_around_within_channels_is_told(database: DatabaseAddresses) -> None:
    """Young and old convert alike much; the young get the channel that converts."""
    async with (
        running_server(database.analytics) as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await add_catalog(stubs)
        await add_users(
            stubs, **{f"y{n}": ["young"] for n in range(400)}, **{f"o{n}": ["old"] for n in range(400)}
        )
        events = []
        for segment, channel, users, buyers in [
            ("y", 1, range(350), 140),
            ("y", 2, range(350, 400), 4),
            ("o", 1, range(50), 24),
            ("o", 2, range(50, 400), 44),
        ]:
            for place, user in enumerate(users):
                name = f"{segment}{user}"
                events.append(event(f"v{name}", "VIEWED", user_id=name, channel=channel))
                if place < buyers:
                    events.append(event(f"b{name}", "CONVERTED", user_id=name, channel=channel, revenue=5))
        await ingest(stubs, *events)
        assert not (await ask(stubs)).warnings
        await AudienceJobs.of(own).run()
        answer = await ask(stubs)
        other_metric = await ask(stubs, metric="revenue")
        by_rfm = await ask(stubs, segmentation="rfm")
    (warning,) = answer.warnings
    assert (warning.first, warning.second) == ("young", "old")
    assert (warning.stratified_by, warning.metric) == ("channel", "conversion_rate")
    assert warning.pooled_difference == pytest.approx(144 / 400 - 68 / 400)
    # Mantel-Haenszel weights of the two channels: 350 x 50 / 400 each.
    assert warning.stratified_difference == pytest.approx((140 / 350 - 24 / 50 + 4 / 50 - 44 / 350) / 2)
    interval = warning.stratified_difference_interval
    assert interval.lower < warning.stratified_difference < interval.upper
    assert 0 < warning.adjusted_p_value < 0.05
    assert "young is above old in conversion_rate over everything" in warning.message
    assert not other_metric.warnings
    assert not by_rfm.warnings


@pytest.mark.parametrize(
    ("arguments", "code", "field", "reason"),
    [
        ({"campaign_id": "nobody"}, "NOT_FOUND", "", "CAMPAIGN_UNKNOWN"),
        ({"campaign_id": "nobody", "segmentation": "rfm"}, "NOT_FOUND", "", "CAMPAIGN_UNKNOWN"),
        ({"campaign_id": ""}, "INVALID_ARGUMENT", "campaign_id", "FIELD_REQUIRED"),
        ({"segmentation": "astrology"}, "INVALID_ARGUMENT", "segmentation", "VALUE_UNKNOWN"),
        ({"metric": "luck"}, "INVALID_ARGUMENT", "metric", "VALUE_UNKNOWN"),
    ],
)
async def test_wrong_questions_are_refused(
    database: DatabaseAddresses, arguments: dict[str, str], code: str, field: str, reason: str
) -> None:
    async with running_server(database.analytics) as stubs:
        await add_catalog(stubs)
        refused = await refusal(ask(stubs, **arguments))
    assert refused.code == code
    if field:
        assert refused.fields == {field: reason}
    else:
        assert refused.reason == reason


async def test_a_campaign_without_events_has_no_segments(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics) as stubs:
        await add_catalog(stubs, campaign("c1"))
        answer = await ask(stubs)
    assert answer.campaign_id == "c1"
    assert answer.currency_code == ""
    assert not answer.segments


@pytest.mark.parametrize(
    ("statement", "arguments", "expected"),
    [
        ("list_given_segments", "'c1'", {"campaign_segment_analytics_pkey", "campaign_segment_moments_pkey"}),
        ("list_rfm_segments_of_campaign", "'c1'", {"campaign_segment_moments_pkey"}),
        ("list_segment_reversals", "'c1', 'given', 'ctr'", {"campaign_segment_reversals_pkey"}),
        ("list_segment_moments", "'c1'", {"events_campaign_time_idx"}),
    ],
)
async def test_segment_statements_keep_to_their_indexes(
    database: DatabaseAddresses, statement: str, arguments: str, expected: set[str]
) -> None:
    plan = await explain(database.analytics, STATEMENTS[statement].sql, arguments)
    for index in expected:
        assert index in plan, plan


async def test_a_segment_of_a_source_without_views_has_no_view_rate(database: DatabaseAddresses) -> None:
    """`b` clicks and never views; `c` does nothing with what it is sent, a view rate of 0."""
    async with running_server(database.analytics) as stubs:
        await add_catalog(stubs)
        await add_users(stubs, u1=["a"], u2=["b"], u3=["b"], u4=["c"], u5=["c"])
        delivered = [event("d", user_id=f"u{n}") for n in range(1, 6)]
        clicked = [event("k", "CLICKED", user_id=f"u{n}") for n in (2, 3)]
        await ingest(stubs, *delivered, *clicked, event("v", "VIEWED", user_id="u1"))
        answer = await ask(stubs, metric="view_rate")
    assert [s.segment_name for s in answer.segments] == ["a", "c", "b"], "undefined last"
    [_, idle, silent] = answer.segments
    assert (idle.HasField("view_rate"), idle.view_rate) == (True, 0)
    assert idle.HasField("view_rate_interval")
    assert (silent.impressions, silent.clicks, silent.ctr) == (2, 2, 1)
    assert not silent.HasField("view_rate")
    assert not silent.HasField("view_rate_interval")
