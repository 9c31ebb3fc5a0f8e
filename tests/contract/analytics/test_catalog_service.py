# ruff: noqa: ANN401 (values of any field of a message pass through here)
"""CatalogService, through a real server and stub."""

from typing import Any

import pytest

from gen.campaigns.analytics.v1 import catalog_service_pb2 as pb
from tests.analytics_factories import Stubs, campaign, event, ingest, refusal, timestamp


def upsert_campaigns(stubs: Stubs, *campaigns: pb.Campaign) -> Any:
    return stubs.catalog.UpsertCampaigns(pb.UpsertCampaignsRequest(campaigns=campaigns))


def upsert_merchants(stubs: Stubs, *merchants: pb.Merchant) -> Any:
    return stubs.catalog.UpsertMerchants(pb.UpsertMerchantsRequest(merchants=merchants))


def upsert_users(stubs: Stubs, *users: pb.User) -> Any:
    return stubs.catalog.UpsertUsers(pb.UpsertUsersRequest(users=users))


async def test_a_full_campaign_comes_back_as_it_was_sent(stubs: Stubs) -> None:
    sent = campaign(
        "full",
        campaign_name="Élan",
        campaign_type=7,
        merchant_id=2,
        channel=4,
        offer_amount=12.345678,
        gross_margin_rate=0.4,
        currency_code="CHF",
        start_time=timestamp("2026-01-01T00:00:00+00:00"),
        end_time=timestamp("2026-02-01T00:00:00+00:00"),
    )
    answer = await upsert_campaigns(stubs, sent)
    assert answer.upserted_count == 1
    listed = await stubs.catalog.ListCampaigns(pb.ListCampaignsRequest())
    assert [c for c in listed.campaigns if c.campaign_id == "full"] == [sent]


async def test_what_a_source_does_not_know_stays_unset(stubs: Stubs) -> None:
    await upsert_campaigns(stubs, pb.Campaign(campaign_id="bare"))
    await upsert_users(stubs, pb.User(user_id="bare"))
    listed = await stubs.catalog.ListCampaigns(pb.ListCampaignsRequest())
    assert pb.Campaign(campaign_id="bare") in listed.campaigns
    merchants = await stubs.catalog.ListMerchants(pb.ListMerchantsRequest())
    assert list(merchants.merchants) == [
        pb.Merchant(merchant_id=1),
        pb.Merchant(merchant_id=2, currency_code="EUR"),
    ]
    assert list((await stubs.catalog.ListUsers(pb.ListUsersRequest())).users) == [pb.User(user_id="bare")]


async def test_an_entry_takes_the_place_of_the_one_before(stubs: Stubs) -> None:
    await upsert_campaigns(stubs, campaign("c1", campaign_name="old", offer_amount=5))
    await upsert_campaigns(stubs, campaign("c1", campaign_name="new"))
    listed = await stubs.catalog.ListCampaigns(pb.ListCampaignsRequest(page_size=1))
    assert list(listed.campaigns) == [campaign("c1", campaign_name="new")]


async def test_merchants_and_users_come_back_as_they_were_sent(stubs: Stubs) -> None:
    merchant = pb.Merchant(
        merchant_id=0,
        merchant_name="Corner",
        category="food",
        latitude=40.7,
        longitude=-74.0,
        currency_code="USD",
    )
    user = pb.User(
        user_id="u9",
        sign_up_time=timestamp("2025-05-05T05:05:05.123456+00:00"),
        time_zone="America/New_York",
        segments=["a", "b"],
    )
    await upsert_merchants(stubs, merchant)
    assert (await upsert_users(stubs, user, pb.User(user_id="u8", segments=["b", "a"]))).upserted_count == 2
    assert (await stubs.catalog.ListMerchants(pb.ListMerchantsRequest())).merchants[0] == merchant
    users = (await stubs.catalog.ListUsers(pb.ListUsersRequest())).users
    assert list(users) == [pb.User(user_id="u8", segments=["a", "b"]), user]


async def test_pages_hold_every_entry_once(stubs: Stubs) -> None:
    await upsert_users(stubs, *(pb.User(user_id=f"u{n:02d}") for n in range(25)))
    seen, token, pages = [], "", 0
    while pages == 0 or token:
        page = await stubs.catalog.ListUsers(pb.ListUsersRequest(page_size=10, page_token=token))
        seen += [user.user_id for user in page.users]
        token, pages = page.next_page_token, pages + 1
    assert seen == [f"u{n:02d}" for n in range(25)]
    assert pages == 3
    first = await stubs.catalog.ListMerchants(pb.ListMerchantsRequest(page_size=1))
    second = await stubs.catalog.ListMerchants(
        pb.ListMerchantsRequest(page_size=1, page_token=first.next_page_token)
    )
    assert [m.merchant_id for m in [*first.merchants, *second.merchants]] == [1, 2]
    assert not second.next_page_token
    one = await stubs.catalog.ListCampaigns(pb.ListCampaignsRequest(page_size=1))
    rest = await stubs.catalog.ListCampaigns(pb.ListCampaignsRequest(page_token=one.next_page_token))
    assert [c.campaign_id for c in [*one.campaigns, *rest.campaigns]] == ["c1", "c2"]


async def test_an_unusable_page_is_refused(stubs: Stubs) -> None:
    token = (await stubs.catalog.ListCampaigns(pb.ListCampaignsRequest(page_size=1))).next_page_token
    for call in (
        stubs.catalog.ListUsers(pb.ListUsersRequest(page_token="2")),
        stubs.catalog.ListUsers(pb.ListUsersRequest(page_token=token)),
        stubs.catalog.ListMerchants(pb.ListMerchantsRequest(page_token=token)),
    ):
        refused = await refusal(call)
        assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", {"page_token": "PAGE_TOKEN_INVALID"})
    refused = await refusal(stubs.catalog.ListUsers(pb.ListUsersRequest(page_size=-1)))
    assert set(refused.fields) == {"page_size"}


@pytest.mark.parametrize(
    ("entry", "field", "reason"),
    [
        (campaign(""), "campaign_id", "FIELD_REQUIRED"),
        (campaign("x" * 129), "campaign_id", "TEXT_INVALID"),
        (campaign("a\0b"), "campaign_id", "TEXT_INVALID"),
        (campaign("x", campaign_name="n" * 257), "campaign_name", "TEXT_INVALID"),
        (campaign("x", campaign_type=8), "campaign_type", "VALUE_UNKNOWN"),
        (campaign("x", channel=9), "channel", "VALUE_UNKNOWN"),
        (campaign("x", merchant_id=-1), "merchant_id", "VALUE_OUT_OF_RANGE"),
        (campaign("x", offer_amount=-1), "offer_amount", "MONEY_OUT_OF_RANGE"),
        (campaign("x", offer_amount=float("nan")), "offer_amount", "MONEY_NOT_FINITE"),
        (campaign("x", offer_amount=0.1234567), "offer_amount", "MONEY_TOO_PRECISE"),
        (campaign("x", gross_margin_rate=1.1), "gross_margin_rate", "VALUE_OUT_OF_RANGE"),
        (campaign("x", gross_margin_rate=float("nan")), "gross_margin_rate", "VALUE_OUT_OF_RANGE"),
        (campaign("x", currency_code="usd"), "currency_code", "TEXT_INVALID"),
        (
            campaign(
                "x", start_time=timestamp("2026-01-02T00:00:00Z"), end_time=timestamp("2026-01-02T00:00:00Z")
            ),
            "end_time",
            "RANGE_REVERSED",
        ),
    ],
)
async def test_a_campaign_that_breaks_a_rule_is_named(
    stubs: Stubs, entry: pb.Campaign, field: str, reason: str
) -> None:
    refused = await refusal(upsert_campaigns(stubs, campaign("fine"), entry))
    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", {f"campaigns[1].{field}": reason})
    listed = await stubs.catalog.ListCampaigns(pb.ListCampaignsRequest())
    assert "fine" not in {c.campaign_id for c in listed.campaigns}


@pytest.mark.parametrize(
    ("entry", "fields"),
    [
        (pb.Merchant(), {"merchant_id": "FIELD_REQUIRED"}),
        (pb.Merchant(merchant_id=-5), {"merchant_id": "VALUE_OUT_OF_RANGE"}),
        (pb.Merchant(merchant_id=5, latitude=10), {"longitude": "FIELD_REQUIRED"}),
        (pb.Merchant(merchant_id=5, longitude=10), {"latitude": "FIELD_REQUIRED"}),
        (
            pb.Merchant(merchant_id=5, latitude=91, longitude=181),
            {"latitude": "VALUE_OUT_OF_RANGE", "longitude": "VALUE_OUT_OF_RANGE"},
        ),
        (pb.Merchant(merchant_id=5, category="c" * 129), {"category": "TEXT_INVALID"}),
    ],
)
async def test_a_merchant_that_breaks_rules_has_each_named(
    stubs: Stubs, entry: pb.Merchant, fields: dict[str, str]
) -> None:
    refused = await refusal(upsert_merchants(stubs, entry))
    assert refused.fields == {f"merchants[0].{field}": reason for field, reason in fields.items()}


@pytest.mark.parametrize(
    ("entry", "fields"),
    [
        (pb.User(), {"user_id": "FIELD_REQUIRED"}),
        (pb.User(user_id="u", time_zone="New York"), {"time_zone": "TIME_ZONE_UNKNOWN"}),
        (pb.User(user_id="u", segments=["a", ""]), {"segments[1]": "FIELD_REQUIRED"}),
        (pb.User(user_id="u", segments=["a", "a"]), {"segments[1]": "DUPLICATE_ENTRY"}),
        (pb.User(user_id="u", segments=[str(n) for n in range(65)]), {"segments": "VALUE_OUT_OF_RANGE"}),
    ],
)
async def test_a_user_that_breaks_rules_has_each_named(
    stubs: Stubs, entry: pb.User, fields: dict[str, str]
) -> None:
    refused = await refusal(upsert_users(stubs, entry))
    assert refused.fields == {f"users[0].{field}": reason for field, reason in fields.items()}


async def test_a_time_off_the_calendar_is_named(stubs: Stubs) -> None:
    user = pb.User(user_id="u")
    user.sign_up_time.seconds = 2**60
    late = campaign("x")
    late.end_time.seconds = 2**60
    assert (await refusal(upsert_users(stubs, user))).fields == {"users[0].sign_up_time": "TIME_OUT_OF_RANGE"}
    assert (await refusal(upsert_campaigns(stubs, late))).fields == {
        "campaigns[0].end_time": "TIME_OUT_OF_RANGE"
    }


async def test_everything_wrong_is_named_at_once(stubs: Stubs) -> None:
    refused = await refusal(upsert_campaigns(stubs, campaign("c9"), campaign("c9", offer_amount=-1)))
    assert refused.fields == {
        "campaigns[1].campaign_id": "DUPLICATE_ENTRY",
        "campaigns[1].offer_amount": "MONEY_OUT_OF_RANGE",
    }


async def test_an_empty_and_an_oversized_request_are_refused(stubs: Stubs) -> None:
    assert (await refusal(upsert_users(stubs))).fields == {"users": "FIELD_REQUIRED"}
    refused = await refusal(upsert_users(stubs, *[pb.User(user_id="u")] * 10_001))
    assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "BATCH_TOO_LARGE")


async def test_a_campaign_of_an_unknown_merchant_is_refused(stubs: Stubs) -> None:
    refused = await refusal(upsert_campaigns(stubs, campaign("x"), campaign("y", merchant_id=77)))
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "MERCHANT_UNKNOWN")
    assert refused.fields == {"campaigns[1].merchant_id": "MERCHANT_UNKNOWN"}


async def test_the_first_event_fixes_the_currency(stubs: Stubs) -> None:
    await upsert_campaigns(stubs, campaign("c1", currency_code="EUR"))
    await upsert_campaigns(stubs, campaign("c1", currency_code="CHF"))
    await ingest(stubs, event("e1"))
    refused = await refusal(upsert_campaigns(stubs, campaign("c1", currency_code="EUR")))
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "CURRENCY_CONFLICT")
    assert refused.fields == {"campaigns[0].currency_code": "CURRENCY_CONFLICT"}
    assert (await upsert_campaigns(stubs, campaign("c1", currency_code="CHF"))).upserted_count == 1


async def test_a_campaign_has_its_merchants_currency(stubs: Stubs) -> None:
    await upsert_campaigns(stubs, campaign("c1", merchant_id=2))
    await ingest(stubs, event("e1"))
    assert (await refusal(upsert_campaigns(stubs, campaign("c1")))).reason == "CURRENCY_CONFLICT"
    assert (await upsert_campaigns(stubs, campaign("c1", currency_code="EUR"))).upserted_count == 1
