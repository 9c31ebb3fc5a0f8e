# ruff: noqa: ANN401 (values of any field of a message pass through here)
"""Campaigns side by side, through a real server and stub."""

from typing import Any

import pytest

from gen.campaigns.analytics.v1 import catalog_service_pb2, comparison_pb2
from tests.analytics_factories import Stubs, campaign, event, ingest, refusal

ALL = ["view_rate", "ctr", "conversion_rate", "user_conversion_rate", "revenue_per_impression", "roas"]


def compare(stubs: Stubs, *campaign_ids: str, metrics: list[str] | None = None) -> Any:
    request = comparison_pb2.CompareCampaignsRequest(campaign_ids=campaign_ids, metrics=metrics or [])
    return stubs.analytics.CompareCampaigns(request)


async def add_users(stubs: Stubs, campaign_id: str, users: range, every: int) -> None:
    """Delivered at 0.25 and viewed twice by each; every n-th clicks once and converts for 3, 4, 5, 3, …"""
    events = []
    for n in users:
        common = {"user_id": f"u{n}", "campaign_id": campaign_id}
        key = f"{campaign_id}-{n}"
        events += [event(f"d{key}", cost=0.25, **common), event(f"v{key}", "VIEWED", **common)]
        events.append(event(f"w{key}", "VIEWED", **common))
        if n % every == 0:
            events.append(event(f"k{key}", "CLICKED", **common))
            events.append(event(f"c{key}", "CONVERTED", revenue=3 + n // every % 3, **common))
    for start in range(0, len(events), 50):
        await ingest(stubs, *events[start : start + 50])


async def test_every_other_campaign_is_compared_with_the_first(stubs: Stubs) -> None:
    await stubs.catalog.UpsertCampaigns(
        catalog_service_pb2.UpsertCampaignsRequest(campaigns=[campaign("c3")])
    )
    await add_users(stubs, "c1", range(60), 6)
    await add_users(stubs, "c2", range(100, 160), 2)
    await add_users(stubs, "c3", range(60), 6)
    answer = await compare(stubs, "c1", "c2", "c3")
    assert [c.campaign_id for c in answer.campaigns] == ["c1", "c2", "c3"]
    assert [(d.campaign_id, d.metric) for d in answer.differences] == [
        (other, metric) for other in ("c2", "c3") for metric in ALL
    ]
    assert {d.baseline_campaign_id for d in answer.differences} == {"c1"}
    assert answer.adjustment_method == "holm"
    by = {(d.campaign_id, d.metric): d for d in answer.differences}
    rate = by["c2", "user_conversion_rate"]
    assert rate.difference == pytest.approx(1 / 2 - 1 / 6)
    assert 0 < rate.difference_interval.lower < rate.difference < rate.difference_interval.upper
    assert 0 < rate.p_value < rate.adjusted_p_value < 0.05
    money = by["c2", "revenue_per_impression"]
    assert money.difference == pytest.approx(answer.campaigns[1].revenue_per_impression - 39 / 60)
    # c3 has the very users of c1, who did the very same: nothing is left to chance.
    same = by["c3", "ctr"]
    assert (same.difference, same.p_value, same.adjusted_p_value) == (0, 1, 1)
    assert same.difference_interval.upper - same.difference_interval.lower < 0.1
    alone = await compare(stubs, "c1", "c2", metrics=["user_conversion_rate"])
    (only,) = alone.differences
    assert only.adjusted_p_value == only.p_value == rate.p_value


async def test_users_who_are_in_both_narrow_the_difference(stubs: Stubs) -> None:
    await stubs.catalog.UpsertCampaigns(
        catalog_service_pb2.UpsertCampaignsRequest(campaigns=[campaign("c3")])
    )
    await add_users(stubs, "c1", range(60), 2)
    await add_users(stubs, "c2", range(60), 4)
    await add_users(stubs, "c3", range(100, 160), 4)
    answer = await compare(stubs, "c1", "c2", "c3", metrics=["conversion_rate"])
    shared, apart = answer.differences
    assert answer.campaigns[1].conversion_rate == answer.campaigns[2].conversion_rate
    assert shared.difference == apart.difference
    widths = [d.difference_interval.upper - d.difference_interval.lower for d in (shared, apart)]
    assert widths[0] < 0.8 * widths[1]
    assert shared.p_value < apart.p_value


async def test_money_of_two_currencies_is_not_compared(stubs: Stubs) -> None:
    await stubs.catalog.UpsertCampaigns(
        catalog_service_pb2.UpsertCampaignsRequest(campaigns=[campaign("euro", merchant_id=2)])
    )
    await add_users(stubs, "c1", range(20), 2)
    await add_users(stubs, "euro", range(20, 40), 2)
    answer = await compare(stubs, "c1", "euro", metrics=["revenue_per_impression", "roas"])
    money, roas = answer.differences
    for name in ("difference", "difference_interval", "p_value", "adjusted_p_value"):
        assert not money.HasField(name), name
    assert money.reason == "money of two currencies is not compared"
    assert (roas.HasField("difference"), roas.reason) == (True, "")


async def test_what_is_undefined_says_why(stubs: Stubs) -> None:
    await add_users(stubs, "c1", range(20), 2)
    undefined = (await compare(stubs, "c1", "c2", metrics=["roas"])).differences[0]
    assert undefined.reason == "roas of 'c2' is undefined"
    await ingest(stubs, event("one", "CONVERTED", campaign_id="c2", cost=1, revenue=2))
    single = (await compare(stubs, "c1", "c2", metrics=["roas"])).differences[0]
    assert single.HasField("difference")
    assert not single.HasField("p_value")
    assert single.reason == "too few users, or effective payers, for an interval, or all are alike"


async def test_an_order_that_turns_around_within_segments_is_warned_of(stubs: Stubs) -> None:
    """c1 reaches the segment that converts anyway, c2 the other; in both segments c2 does better."""
    for segment, users in (("warm", range(200)), ("cold", range(200, 400))):
        await stubs.catalog.UpsertUsers(
            catalog_service_pb2.UpsertUsersRequest(
                users=[catalog_service_pb2.User(user_id=f"u{n}", segments=[segment]) for n in users]
            )
        )
    events = []
    for campaign_id, segment, users, every in (
        ("c1", "warm", range(180), 2),
        ("c1", "cold", range(200, 220), 20),
        ("c2", "warm", range(180, 200), 1),
        ("c2", "cold", range(220, 400), 6),
    ):
        for place, n in enumerate(users):
            common = {"user_id": f"u{n}", "campaign_id": campaign_id}
            events.append(event(f"v{segment}", "VIEWED", **common))
            if place % every == 0:
                events.append(event(f"c{segment}", "CONVERTED", revenue=3, **common))
    for start in range(0, len(events), 50):
        await ingest(stubs, *events[start : start + 50])
    answer = await compare(stubs, "c1", "c2", metrics=["conversion_rate"])
    (warning,) = answer.warnings
    assert (warning.first, warning.second, warning.stratified_by) == ("c1", "c2", "segment")
    assert warning.pooled_difference > 0 > warning.stratified_difference


@pytest.mark.parametrize(
    ("campaign_ids", "metrics", "expected"),
    [
        ([], [], {"campaign_ids": "FIELD_REQUIRED"}),
        (["c1"], [], {"campaign_ids": "VALUE_OUT_OF_RANGE"}),
        ([f"x{n}" for n in range(21)], [], {"campaign_ids": "VALUE_OUT_OF_RANGE"}),
        (["c1", "c1"], [], {"campaign_ids[1]": "DUPLICATE_ENTRY"}),
        (["c1", ""], [], {"campaign_ids[1]": "FIELD_REQUIRED"}),
        (["c1", "c2"], ["roas", "likes"], {"metrics[1]": "VALUE_UNKNOWN"}),
        (["c1", "c2"], ["roas", "roas"], {"metrics[1]": "DUPLICATE_ENTRY"}),
    ],
)
async def test_a_bad_comparison_is_refused_by_field(
    stubs: Stubs, campaign_ids: list[str], metrics: list[str], expected: dict[str, str]
) -> None:
    refused = await refusal(compare(stubs, *campaign_ids, metrics=metrics))
    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", expected)


async def test_an_unknown_campaign_is_not_compared(stubs: Stubs) -> None:
    refused = await refusal(compare(stubs, "c1", "nobody"))
    assert (refused.code, refused.reason) == ("NOT_FOUND", "CAMPAIGN_UNKNOWN")
