"""GetCohortPerformance and ListCohorts through a real server and a real stub; NOW is 2026-03-31T12:00Z."""

from datetime import UTC, datetime

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import audience_pb2 as pb
from services.analytics.server import open_database
from tests.analytics_factories import (
    Stubs,
    add_catalog,
    event,
    ingest,
    refusal,
    running_server,
    settings_for,
)
from tests.audience_factories import AudienceJobs


def at(month: int, day: int, hour: int = 12) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


async def ask(
    stubs: Stubs, day: str, interval: str = "", currency: str = ""
) -> pb.GetCohortPerformanceResponse:
    return await stubs.analytics.GetCohortPerformance(
        pb.GetCohortPerformanceRequest(cohort_date=day, interval=interval, currency_code=currency)
    )


async def send_a_cohort(stubs: Stubs) -> None:
    """Four users of 2 March; u1 and u2 come back in week 1, u1 buys; u3 is sent an offer in week 3."""
    await add_catalog(stubs)
    await ingest(
        stubs,
        *[event(f"d{n}", user_id=f"u{n}", event_time=at(3, 2), cost=0.5) for n in (1, 2, 3, 4)],
        event("v1", "VIEWED", user_id="u1", event_time=at(3, 3)),
        event("b1", "CONVERTED", user_id="u1", event_time=at(3, 10), revenue=12),
        event("b2", "CONVERTED", user_id="u2", event_time=at(3, 11), revenue=6, cost=1),
        event("r2", "REFUNDED", user_id="u2", event_time=at(3, 20), revenue=2, original_event_id="b2"),
        event("d5", user_id="u3", event_time=at(3, 24), cost=0.25),
        event(
            "p6", "CONVERTED", user_id="u6", event_time=at(3, 30), revenue=1, campaign_id=None, merchant_id=1
        ),
    )


async def test_a_cohort_week_by_week(database: DatabaseAddresses) -> None:
    async with (
        running_server(database.analytics) as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await send_a_cohort(stubs)
        before = await ask(stubs, "2026-03-02")
        await AudienceJobs.of(own).run()
        answer = await ask(stubs, "2026-03-02")
        monthly = await ask(stubs, "2026-03-02", "monthly")
        daily = await ask(stubs, "2026-03-02", "daily")
        nobody = await ask(stubs, "2026-03-05")
        later = await ask(stubs, "2026-04-05")
    assert not before.HasField("as_of")
    assert not before.periods
    assert answer.as_of.ToDatetime(tzinfo=UTC).date().isoformat() == "2026-03-31"
    assert (answer.cohort_date, answer.users, answer.interval, answer.currency_code) == (
        "2026-03-02",
        4,
        "weekly",
        "USD",
    )
    assert [
        (p.period_index, p.date_range.start_date, p.date_range.end_date, p.active_users, p.engaged_users)
        for p in answer.periods
    ] == [
        (0, "2026-03-02", "2026-03-08", 4, 1),
        (1, "2026-03-09", "2026-03-15", 2, 2),
        (2, "2026-03-16", "2026-03-22", 1, 0),
        (3, "2026-03-23", "2026-03-29", 1, 0),
        (4, "2026-03-30", "2026-04-05", 0, 0),
    ]
    assert [p.is_complete for p in answer.periods] == [True, True, True, True, False]
    assert [(p.revenue, p.cost) for p in answer.periods] == [(0, 2), (16, 1), (0, 0), (0, 0.25), (0, 0)]
    assert [p.cumulative_revenue_per_user for p in answer.periods] == [0, 4, 4, 4, 4]
    first, second = answer.periods[0], answer.periods[1]
    assert (first.retention_rate, second.retention_rate, second.engagement_rate) == (1.0, 0.5, 0.5)
    # Wilson's interval of 2 of 4 at 95 %.
    assert second.retention_rate_interval.lower == pytest.approx(0.1500, abs=1e-4)
    assert second.retention_rate_interval.upper == pytest.approx(0.8500, abs=1e-4)
    assert first.roas == 0
    assert not first.HasField("roas_interval")
    assert second.roas == 16
    assert not second.HasField("roas_interval"), "12 and 4 of two payers are 1.6 effective ones"
    assert not answer.periods[2].HasField("roas")
    assert [(p.active_users, p.revenue, p.cost, p.is_complete) for p in monthly.periods] == [
        (4, 16, 3.25, False)
    ]
    assert len(daily.periods) == 30
    assert [p.active_users for p in daily.periods][:2] == [4, 1]
    assert nobody.users == 0
    assert len(nobody.periods) == 4
    assert not nobody.periods[0].HasField("retention_rate")
    assert (later.users, len(later.periods)) == (0, 0)


async def test_a_late_event_moves_a_user_to_an_earlier_cohort(database: DatabaseAddresses) -> None:
    async with (
        running_server(database.analytics) as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await send_a_cohort(stubs)
        jobs = AudienceJobs.of(own)
        await jobs.run()
        await ingest(stubs, event("late", user_id="u1", event_time=at(2, 27)))
        await jobs.run()
        left, joined = await ask(stubs, "2026-03-02"), await ask(stubs, "2026-02-27")
    assert left.users == 3
    assert [p.active_users for p in left.periods] == [3, 1, 1, 1, 0]
    assert left.periods[-1].cumulative_revenue_per_user == pytest.approx(4 / 3)
    assert joined.users == 1
    assert [p.active_users for p in joined.periods] == [1, 1, 0, 0, 0]
    assert [p.revenue for p in joined.periods] == [0, 12, 0, 0, 0]


async def test_money_of_two_currencies_is_not_added(database: DatabaseAddresses) -> None:
    async with (
        running_server(database.analytics) as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await send_a_cohort(stubs)
        euros = {"campaign_id": None, "merchant_id": 2, "revenue": 9}
        await ingest(stubs, event("e1", "CONVERTED", user_id="u4", event_time=at(3, 17), **euros))
        await AudienceJobs.of(own).run()
        mixed = await ask(stubs, "2026-03-02")
        euro = await ask(stubs, "2026-03-02", currency="EUR")
        dollar = await ask(stubs, "2026-03-02", currency="USD")
    assert mixed.currency_code == ""
    assert [p.active_users for p in mixed.periods] == [4, 2, 2, 1, 0]
    for period in mixed.periods:
        assert not period.HasField("revenue")
        assert not period.HasField("cost")
        assert not period.HasField("roas")
        assert not period.HasField("cumulative_revenue_per_user")
    assert [p.revenue for p in euro.periods] == [0, 0, 9, 0, 0]
    assert [p.revenue for p in dollar.periods] == [0, 16, 0, 0, 0]
    assert (euro.currency_code, euro.periods[-1].cumulative_revenue_per_user) == ("EUR", 9 / 4)


async def test_the_triangle_is_paged(database: DatabaseAddresses) -> None:
    async with (
        running_server(database.analytics) as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await add_catalog(stubs)
        unstarted = await stubs.analytics.ListCohorts(pb.ListCohortsRequest())
        await ingest(stubs, *[event(f"d{n}", user_id=f"u{n}", event_time=at(3, 1 + 2 * n)) for n in range(7)])
        await AudienceJobs.of(own).run()
        pages, token = [], ""
        while True:
            request = pb.ListCohortsRequest(
                start_date="2026-03-03", end_date="2026-03-12", page_size=2, page_token=token, max_periods=2
            )
            page = await stubs.analytics.ListCohorts(request)
            pages.append([cohort.cohort_date for cohort in page.cohorts])
            assert page.HasField("as_of")
            if not (token := page.next_page_token):
                break
        everything = await stubs.analytics.ListCohorts(pb.ListCohortsRequest())
    assert not unstarted.cohorts
    assert not unstarted.HasField("as_of")
    assert pages == [["2026-03-03", "2026-03-05"], ["2026-03-07", "2026-03-09"], ["2026-03-11"]]
    assert [len(cohort.periods) for cohort in everything.cohorts] == [5, 5, 4, 4, 4, 3, 3]
    assert [cohort.users for cohort in everything.cohorts] == [1] * 7
    assert everything.cohorts[0].periods[0].retention_rate == 1
    assert everything.next_page_token == ""


async def test_a_page_of_many_periods_has_fewer_cohorts(
    database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.analytics.operations.cohorts.MAXIMUM_PAGE_PERIODS", 10)
    async with (
        running_server(database.analytics) as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await add_catalog(stubs)
        await ingest(stubs, *[event(f"d{n}", user_id=f"u{n}", event_time=at(3, 1 + n)) for n in range(7)])
        await AudienceJobs.of(own).run()
        page = await stubs.analytics.ListCohorts(pb.ListCohortsRequest(page_size=1000, max_periods=5))
        least = await stubs.analytics.ListCohorts(pb.ListCohortsRequest(page_size=1000, max_periods=60))
    assert [cohort.cohort_date for cohort in page.cohorts] == ["2026-03-01", "2026-03-02"]
    assert page.next_page_token
    assert len(least.cohorts) == 1


@pytest.mark.parametrize(
    ("asked", "field", "reason"),
    [
        (
            pb.ListCohortsRequest(start_date="2026-03-02", end_date="2026-03-01"),
            "end_date",
            "RANGE_REVERSED",
        ),
        (pb.ListCohortsRequest(start_date="0001-01-01"), "start_date", "VALUE_OUT_OF_RANGE"),
        (pb.ListCohortsRequest(start_date="yesterday"), "start_date", "DATE_INVALID"),
        (pb.ListCohortsRequest(interval="hourly"), "interval", "VALUE_UNKNOWN"),
        (pb.ListCohortsRequest(page_token="MQ"), "page_token", "PAGE_TOKEN_INVALID"),
        (pb.ListCohortsRequest(page_token="eyJjb2hvcnRfZGF0ZSI6MX0"), "page_token", "PAGE_TOKEN_INVALID"),
        (pb.ListCohortsRequest(page_size=-1), "page_size", "VALUE_OUT_OF_RANGE"),
        (pb.ListCohortsRequest(max_periods=-1), "max_periods", "VALUE_OUT_OF_RANGE"),
        (pb.ListCohortsRequest(max_periods=91, interval="daily"), "max_periods", "VALUE_OUT_OF_RANGE"),
        (pb.ListCohortsRequest(currency_code="usd"), "currency_code", "TEXT_INVALID"),
    ],
)
async def test_wrong_lists_are_refused(
    database: DatabaseAddresses, asked: pb.ListCohortsRequest, field: str, reason: str
) -> None:
    async with running_server(database.analytics) as stubs:
        refused = await refusal(stubs.analytics.ListCohorts(asked))
    assert refused.code == "INVALID_ARGUMENT"
    assert refused.fields == {field: reason}


@pytest.mark.parametrize(
    ("day", "interval", "field", "reason"),
    [
        ("", "", "cohort_date", "FIELD_REQUIRED"),
        ("2026-02-30", "", "cohort_date", "DATE_INVALID"),
        ("9999-01-01", "", "cohort_date", "VALUE_OUT_OF_RANGE"),
        ("2026-03-02", "yearly", "interval", "VALUE_UNKNOWN"),
    ],
)
async def test_wrong_cohorts_are_refused(
    database: DatabaseAddresses, day: str, interval: str, field: str, reason: str
) -> None:
    async with running_server(database.analytics) as stubs:
        refused = await refusal(ask(stubs, day, interval))
    assert refused.code == "INVALID_ARGUMENT"
    assert refused.fields == {field: reason}
