"""Cohorts, segments, and recency, frequency and money of real households, beside pandas on the same tables.

Sent through the real service: every delivery and redemption, and the baskets of every tenth household. Days
are New York's; the clock stands at the data's end, 1 October 2017.
"""

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from examples.complete_journey import mapping
from examples.complete_journey.loading import Journey
from examples.complete_journey.source import Source
from gen.campaigns.analytics.v1 import audience_pb2 as pb
from gen.campaigns.analytics.v1 import catalog_service_pb2, events_pb2
from services.analytics.domain.rfm import GRID
from services.analytics.server import open_database
from tests.analytics_factories import Stubs, ingest, running_server, settings_for
from tests.audience_factories import AudienceJobs

SHARED = Path(os.environ.get("SHARED_DATA_DIR", Path(__file__).parents[4] / "shared" / "data"))
FOLDER = SHARED / "complete_journey"
ZONE = "America/New_York"
END = datetime(2017, 10, 1, 16, tzinfo=UTC)
EVERY = 10

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the Complete Journey files are not there")


def batches(events: Iterable[events_pb2.Event]) -> Iterable[list[events_pb2.Event]]:
    waiting = iter(events)
    while batch := list(islice(waiting, 10_000)):
        yield batch


async def load(stubs: Stubs) -> None:
    journey = Journey.read(Source.find(FOLDER))
    await stubs.catalog.UpsertMerchants(
        catalog_service_pb2.UpsertMerchantsRequest(merchants=journey.merchants)
    )
    await stubs.catalog.UpsertUsers(catalog_service_pb2.UpsertUsersRequest(users=journey.users))
    await stubs.catalog.UpsertCampaigns(
        catalog_service_pb2.UpsertCampaignsRequest(
            campaigns=list(mapping.campaign_messages(journey.campaigns))
        )
    )
    some = np.asarray(journey.lines.household_id % EVERY == 0)
    for events in (
        mapping.delivery_messages(journey.deliveries, journey.campaigns),
        mapping.redemption_messages(journey.redemptions),
        mapping.line_messages(journey.lines, journey.line_merchants, some),
    ):
        for batch in batches(events):
            answer = await ingest(stubs, *batch)
            assert answer.accepted_count == len(batch)


def read(name: str) -> pd.DataFrame:
    return pd.read_parquet(FOLDER / f"{name}.parquet")


def read_days() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every event as (household, day), and the purchases with their cents; days of New York."""
    lines = read("transactions_jan_sep")
    lines = lines[lines.household_id % EVERY == 0]
    local = lines.transaction_timestamp.dt.tz_localize("UTC").dt.tz_convert(ZONE).dt.tz_localize(None)
    redemptions = read("coupon_redemptions_jan_sep")
    bought = pd.DataFrame(
        {
            "household_id": lines.household_id,
            "day": local.dt.normalize(),
            "cents": (lines.sales_value * 100).round().astype(int),
        }
    )
    redeemed = redemptions.assign(day=redemptions.redemption_date, cents=0)[["household_id", "day", "cents"]]
    purchases = pd.concat([bought, redeemed])
    sent = read("campaigns").merge(read("campaign_descriptions"), on="campaign_id")
    deliveries = sent.assign(day=sent.start_date)[["household_id", "day"]]
    return pd.concat([deliveries, purchases[["household_id", "day"]]]), purchases


def count_triangle() -> dict[str, tuple[int, list[tuple[int, int]]]]:
    """By cohort: its users, and by week active users and cents."""
    events, purchases = read_days()
    first = events.groupby("household_id").day.min().rename("cohort")
    weeks = events.join(first, on="household_id")
    weeks["week"] = (weeks.day - weeks.cohort).dt.days // 7
    money = purchases.join(first, on="household_id")
    money["week"] = (money.day - money.cohort).dt.days // 7
    active = weeks.groupby(["cohort", "week"]).household_id.nunique()
    cents = money.groupby(["cohort", "week"]).cents.sum()
    triangle = {}
    for cohort, users in first.groupby(first).size().items():
        last = (pd.Timestamp("2017-10-01") - cohort).days // 7
        cells = [
            (int(active.get((cohort, week), 0)), int(cents.get((cohort, week), 0)))
            for week in range(last + 1)
        ]
        triangle[cohort.date().isoformat()] = (int(users), cells)
    return triangle


def score(values: "pd.Series[Any]", method: str) -> "pd.Series[Any]":
    """Fifths by rank: `max` rounds the share up, `min` down, so that ties stay together."""
    rank, size = values.rank(method=method).astype(int), len(values)
    return -(-5 * rank // size) if method == "max" else 1 + 5 * (rank - 1) // size


async def check_cohorts(stubs: Stubs) -> None:
    found, token = {}, ""
    while True:
        request = pb.ListCohortsRequest(page_size=1000, max_periods=60, page_token=token)
        page = await stubs.analytics.ListCohorts(request)
        for cohort in page.cohorts:
            cells = [(period.active_users, round(period.revenue * 100)) for period in cohort.periods]
            found[cohort.cohort_date] = (cohort.users, cells)
        if not (token := page.next_page_token):
            break
    assert found == count_triangle()


async def check_one_cohort(stubs: Stubs) -> None:
    """The 19 households of 2 January: 17 came back in the second week, 15 in the third."""
    cohort = await stubs.analytics.GetCohortPerformance(
        pb.GetCohortPerformanceRequest(cohort_date="2017-01-02")
    )
    assert (cohort.users, len(cohort.periods), cohort.currency_code) == (19, 39, "USD")
    first, second, third = cohort.periods[:3]
    assert (first.revenue, second.revenue, third.revenue) == (1_943.56, 1_144.24, 1_017.71)
    assert (first.active_users, second.active_users, third.active_users) == (19, 17, 15)
    assert third.cumulative_revenue_per_user == pytest.approx((1_943.56 + 1_144.24 + 1_017.71) / 19)
    # Wilson's interval of 17 of 19.
    assert second.retention_rate_interval.lower == pytest.approx(0.6861, abs=1e-4)
    assert second.retention_rate_interval.upper == pytest.approx(0.9706, abs=1e-4)
    assert [period.is_complete for period in cohort.periods] == [True] * 38 + [False]


async def check_segments(stubs: Stubs) -> None:
    answer = await stubs.analytics.GetCampaignSegments(
        pb.GetCampaignSegmentsRequest(campaign_id="13", metric="conversions")
    )
    people = read("demographics")
    names = pd.concat(
        [
            people.assign(name=prefix + ":" + people[column])[["household_id", "name"]]
            for column, prefix in (("age", "age"), ("income", "income"), ("household_comp", "household"))
        ]
    )
    expected = {}
    for column, table in (("impressions", "campaigns"), ("conversions", "coupon_redemptions_jan_sep")):
        rows = read(table)
        rows = rows[rows.campaign_id == 13].merge(names, on="household_id", how="left")
        expected[column] = rows.assign(name=rows.name.fillna("")).groupby("name").size()
    for segment in answer.segments:
        assert segment.impressions == expected["impressions"].get(segment.segment_name, 0)
        assert segment.conversions == expected["conversions"].get(segment.segment_name, 0)
        assert not segment.HasField("conversion_rate"), "the data has no views"
    assert {s.segment_name for s in answer.segments} == set(expected["impressions"].index)
    first = answer.segments[0]
    assert (first.segment_name, first.impressions, first.conversions) == ("age:45-54", 221, 197)


async def check_rfm(stubs: Stubs) -> None:
    answer = await stubs.analytics.ListRfmSegments(pb.ListRfmSegmentsRequest())
    _, purchases = read_days()
    users = purchases.groupby("household_id").agg(
        last=("day", "max"), frequency=("day", "size"), cents=("cents", "sum")
    )
    recency = score(users["last"], "max")
    value = (score(users.frequency, "min") + score(users.cents, "min") + 1) // 2
    for segment in answer.segments:
        in_cells = [GRID[r][v - 1] == segment.segment_name for r, v in zip(recency, value, strict=True)]
        chosen = users[in_cells]
        assert segment.users == len(chosen)
        assert round(segment.revenue * 100) == chosen.cents.sum()
        if segment.users:
            assert segment.mean_frequency == pytest.approx(chosen.frequency.mean())
            days = (pd.Timestamp("2017-10-01") - chosen["last"]).dt.days
            assert segment.mean_recency_days == pytest.approx(days.mean())
    assert sum(segment.users for segment in answer.segments) == len(users)
    first = answer.segments[0]
    assert (first.segment_name, first.users, first.revenue) == ("champions", 113, 243_406.49)
    assert len(users) == 533


async def test_the_audience_is_what_pandas_counts(database: DatabaseAddresses) -> None:
    async with (
        running_server(database.analytics, clock=lambda: END, reporting_time_zone=ZONE) as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await load(stubs)
        jobs = AudienceJobs.of(own, ZONE, END)
        await jobs.run()
        assert await jobs.cohorts.list_differences() == []
        await check_cohorts(stubs)
        await check_segments(stubs)
        await check_rfm(stubs)
        await check_one_cohort(stubs)
