"""Credits and merchants on the real Complete Journey data, against a count of its tables with pandas.

Deliveries, redemptions, and the transaction lines of every fiftieth household go through the real service;
the expected numbers are computed here from the tables themselves. There are no views or clicks in the data,
so deliveries are the touches: a campaign's own start, at local midnight.
"""

import os
from collections import defaultdict
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from examples.complete_journey import mapping
from examples.complete_journey.loading import Journey
from examples.complete_journey.source import Source
from gen.campaigns.analytics.v1 import attribution_pb2, catalog_service_pb2, merchants_pb2
from services.analytics.attributing.refresh import AttributionRefresh
from services.analytics.server import open_database
from tests.analytics_factories import NOW, Stubs, ingest, running_server, settings_for

SHARED = Path(os.environ.get("SHARED_DATA_DIR", Path(__file__).parents[4] / "shared" / "data"))
FOLDER = SHARED / "complete_journey"
ZONE = "America/New_York"
EVERY = 50
DAYS = {"start_date": "2017-03-01", "end_date": "2017-08-31"}
MODELS = ("first_touch", "last_touch", "linear")

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the Complete Journey files are not there")


@pytest.fixture
async def stubs(database: DatabaseAddresses) -> AsyncIterator[Stubs]:
    """A server with the campaigns' events and one household's lines in fifty, attributed once."""
    journey = Journey.read(Source.find(FOLDER))
    async with running_server(
        database.analytics, reporting_time_zone=ZONE, max_batch_events=10_000
    ) as running:
        catalog = running.catalog
        await catalog.UpsertMerchants(catalog_service_pb2.UpsertMerchantsRequest(merchants=journey.merchants))
        await catalog.UpsertCampaigns(
            catalog_service_pb2.UpsertCampaignsRequest(campaigns=mapping.campaign_messages(journey.campaigns))
        )
        chosen = journey.lines.household_id % EVERY == 0
        for events in (
            mapping.delivery_messages(journey.deliveries, journey.campaigns),
            mapping.redemption_messages(journey.redemptions),
            mapping.line_messages(journey.lines, journey.line_merchants, chosen),
        ):
            while batch := list(islice(events, 10_000)):
                assert not (await ingest(running, *batch)).rejections
        async with open_database(settings_for(database.analytics)) as opened:
            await AttributionRefresh(opened, zone=ZoneInfo(ZONE), lookback_days=30, clock=lambda: NOW).run()
        yield running


def read(name: str) -> pd.DataFrame:
    return pd.read_parquet(FOLDER / f"{name}.parquet")


def local(days: pd.Series, hour: int) -> pd.Series:
    moments = pd.to_datetime(days) + pd.Timedelta(hours=hour)
    return moments.dt.tz_localize(ZONE).dt.tz_convert("UTC")


def read_touches() -> pd.DataFrame:
    """Deliveries by household and time; of one time in the order of their names."""
    touches = read("campaigns").merge(
        read("campaign_descriptions")[["campaign_id", "start_date"]], on="campaign_id"
    )
    touches["at"] = local(touches.start_date, 0)
    touches["campaign_id"] = touches.campaign_id.astype(str)
    return touches[["household_id", "campaign_id", "at"]].sort_values(
        ["household_id", "at", "campaign_id"], key=lambda c: "x" + c if c.name == "campaign_id" else c
    )


def read_conversions() -> pd.DataFrame:
    """Redemptions, and the lines of every fiftieth household, whose campaign is empty."""
    redeemed = read("coupon_redemptions_jan_sep")
    redeemed["at"] = local(redeemed.redemption_date, 12)
    redeemed["campaign_id"] = redeemed.campaign_id.astype(str)
    redeemed["cents"] = 0
    lines = read("transactions_jan_sep")
    lines = lines[lines.household_id % EVERY == 0].copy()
    lines["at"] = pd.to_datetime(lines.transaction_timestamp).dt.tz_localize("UTC")
    lines["campaign_id"] = ""
    lines["cents"] = (lines.sales_value * 100).round().astype(int)
    columns = ["household_id", "campaign_id", "at", "cents"]
    return pd.concat([redeemed[columns], lines[columns]], ignore_index=True)


def expect_credits() -> tuple[dict[str, dict[str, list[float]]], int, int]:
    """By model and campaign the conversions and cents credited; all conversions, and all cents."""
    touched = {
        household: list(zip(rows["at"], rows.campaign_id, strict=True))
        for household, rows in read_touches().groupby("household_id")
    }
    conversions = read_conversions()
    day = conversions["at"].dt.tz_convert(ZONE).dt.strftime("%Y-%m-%d")
    conversions = conversions[(day >= DAYS["start_date"]) & (day <= DAYS["end_date"])]
    credits_: dict[str, dict[str, list[float]]] = {model: defaultdict(lambda: [0.0, 0.0]) for model in MODELS}
    number = cents = 0
    window = pd.Timedelta(days=30)
    for row in conversions.itertuples(index=False):
        path = [
            campaign
            for at, campaign in touched.get(row.household_id, ())
            if pd.Timedelta(0) <= row.at - at <= window
        ]
        if row.campaign_id and row.campaign_id not in path:
            path.append(row.campaign_id)
        if not path:
            continue
        number, cents = number + 1, cents + row.cents
        for model, shares in (
            ("first_touch", {path[0]: 1.0}),
            ("last_touch", {path[-1]: 1.0}),
            ("linear", {campaign: path.count(campaign) / len(path) for campaign in path}),
        ):
            for campaign, share in shares.items():
                credits_[model][campaign][0] += share
                credits_[model][campaign][1] += share * row.cents
    return credits_, number, cents


async def test_credits_are_what_the_tables_say(stubs: Stubs) -> None:
    expected, number, cents = expect_credits()
    assert number > 2000
    for model in MODELS:
        answer = await stubs.analytics.GetPortfolioAttribution(
            attribution_pb2.GetPortfolioAttributionRequest(model=model, page_size=1000, **DAYS)
        )
        assert answer.conversions == answer.credited_conversions == number
        assert answer.revenue == answer.credited_revenue == cents / 100
        found = {c.campaign_id: (c.credit.conversions, c.credit.revenue) for c in answer.campaigns}
        assert found.keys() == expected[model].keys()
        for campaign, (conversions, money) in found.items():
            assert conversions == pytest.approx(expected[model][campaign][0], abs=0.01), (model, campaign)
            assert money == pytest.approx(expected[model][campaign][1] / 100, abs=0.01), (model, campaign)


async def test_each_campaign_counts_its_own_redemptions_beside_its_credits(stubs: Stubs) -> None:
    redeemed = read("coupon_redemptions_jan_sep")
    days = redeemed.redemption_date.astype(str).str[:10]
    chosen = redeemed[(days >= DAYS["start_date"]) & (days <= DAYS["end_date"])]
    for campaign_id in (8, 13):
        answer = await stubs.analytics.GetAttribution(
            attribution_pb2.GetAttributionRequest(campaign_id=str(campaign_id), **DAYS)
        )
        assert answer.conversions == (chosen.campaign_id == campaign_id).sum()
        shares = [credit.conversion_share for credit in answer.credits]
        assert all(0 < share < 1 for share in shares)
        assert all(c.HasField("conversion_share_interval") for c in answer.credits)


async def test_a_store_sold_what_its_lines_say(stubs: Stubs) -> None:
    lines = read("transactions_jan_sep")
    lines = lines[lines.household_id % EVERY == 0]
    store = int(lines.store_id.value_counts().idxmax())
    own = lines[lines.store_id == store]
    local_days = pd.to_datetime(own.transaction_timestamp).dt.tz_localize("UTC").dt.tz_convert(ZONE)
    own = own[local_days.dt.month == 7]
    answer = await stubs.analytics.GetMerchantPerformance(
        merchants_pb2.GetMerchantPerformanceRequest(
            merchant_id=store, start_date="2017-07-01", end_date="2017-07-31"
        )
    )
    assert len(own) > 50
    assert answer.totals.purchase_count == len(own)
    assert answer.totals.purchase_revenue == np.round(own.sales_value * 100).sum() / 100
    assert (answer.merchant_name, answer.total_campaigns) == (f"Store {store}", 0)
