# ruff: noqa: ANN401 (values of any field of a message pass through here)
"""Attribution: events in, a run, credits out, through a real server and stub."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import attribution_pb2 as pb
from gen.campaigns.analytics.v1.events_pb2 import Event
from services.analytics.attributing.refresh import AttributionRefresh, RefreshSummary
from services.analytics.server import open_database
from services.common.paging import decode_page_token, encode_page_token
from tests.analytics_factories import NOW, Stubs, add_catalog, campaign, event, ingest, refusal, settings_for

MODELS = ["first_touch", "last_touch", "linear", "time_decay", "position_based", "markov"]
Refresh = Callable[..., Awaitable[RefreshSummary]]


@pytest.fixture
def refresh(database: DatabaseAddresses) -> Refresh:
    """Run attribution once, in this process; fields of the run may be given."""

    async def run(*, zone: str = "UTC", lookback_days: int = 30) -> RefreshSummary:
        async with open_database(settings_for(database.analytics)) as opened:
            return await AttributionRefresh(
                opened,
                zone=ZoneInfo(zone),
                lookback_days=lookback_days,
                clock=lambda: NOW,
                settling=timedelta(0),
            ).run()

    return run


def moment(day: int, hour: int = 10) -> str:
    return datetime(2026, 3, day, hour, tzinfo=UTC).isoformat()


def touch(campaign_id: str, day: int, user: str = "u1", kind: str = "VIEWED", **fields: Any) -> Event:
    name = f"{kind}-{campaign_id}-{day}-{fields.get('hour', 10)}"
    hour = fields.pop("hour", 10)
    return event(name, kind, campaign_id=campaign_id, user_id=user, event_time=moment(day, hour), **fields)


def conversion(campaign_id: str | None, day: int, user: str = "u1", **fields: Any) -> Event:
    fields = {"revenue": 10.0, "hour": 12, **fields}
    hour = fields.pop("hour")
    return event(
        f"buy-{campaign_id}-{day}-{hour}",
        "CONVERTED",
        campaign_id=campaign_id,
        user_id=user,
        event_time=moment(day, hour),
        **fields,
    )


async def credits_of(stubs: Stubs, campaign_id: str = "c1", **fields: Any) -> Any:
    return await stubs.analytics.GetAttribution(pb.GetAttributionRequest(campaign_id=campaign_id, **fields))


async def portfolio_of(stubs: Stubs, **fields: Any) -> Any:
    return await stubs.analytics.GetPortfolioAttribution(pb.GetPortfolioAttributionRequest(**fields))


def by_model(answer: Any) -> dict[str, tuple[float, float]]:
    return {credit.model: (credit.conversions, credit.revenue) for credit in answer.credits}


async def check_sums(stubs: Stubs, **fields: Any) -> None:
    """All credits of every model are what was divided, over all pages, to the micro."""
    for model in MODELS:
        page = await portfolio_of(stubs, model=model, page_size=2, **fields)
        micro = [round(c.credit.conversions * 1e6) for c in page.campaigns]
        money = [round(c.credit.revenue * 1e6) for c in page.campaigns]
        while page.next_page_token:
            page = await portfolio_of(
                stubs, model=model, page_size=2, page_token=page.next_page_token, **fields
            )
            micro += [round(c.credit.conversions * 1e6) for c in page.campaigns]
            money += [round(c.credit.revenue * 1e6) for c in page.campaigns]
        assert sum(micro) == page.conversions * 10**6 == round(page.credited_conversions * 1e6), model
        assert sum(money) == round(page.revenue * 1e6) == round(page.credited_revenue * 1e6), model
        assert micro == sorted(micro, reverse=True)


def forged(token: str, **values: str | int) -> str:
    """Return a token in which somebody has changed something."""
    return encode_page_token({**decode_page_token(token), **values})


async def test_before_the_first_run_nothing_is_said(stubs: Stubs) -> None:
    await ingest(stubs, touch("c1", 1), conversion("c1", 2))
    answer = await credits_of(stubs)
    assert not answer.HasField("as_of")
    assert not answer.HasField("lookback_days")
    assert (answer.conversions, {credit.conversions for credit in answer.credits}) == (0, {0.0})
    assert not any(credit.HasField("conversion_share") for credit in answer.credits)
    assert (answer.date_range.start_date, answer.date_range.end_date) == ("2026-03-02", "2026-03-31")


async def test_each_model_divides_a_journey_by_its_rule(stubs: Stubs, refresh: Refresh) -> None:
    """c1, c2, c2, c3 seven days apart, and a conversion of c3 with the last touch: the rules by hand."""
    await add_catalog(stubs, campaign("c1"), campaign("c2"), campaign("c3"))
    await ingest(
        stubs,
        touch("c1", 1, hour=12),
        touch("c2", 8, hour=12),
        touch("c2", 15, hour=12, kind="CLICKED"),
        touch("c3", 22, hour=12),
        conversion("c3", 22, revenue=100.0),
    )
    summary = await refresh()
    assert (summary.months, summary.conversions) == (1, 1)
    answers = {name: by_model(await credits_of(stubs, name)) for name in ("c1", "c2", "c3")}
    assert answers["c1"]["first_touch"] == (1.0, 100.0)
    assert answers["c3"]["last_touch"] == (1.0, 100.0)
    assert [answers[name]["linear"][0] for name in answers] == [0.25, 0.5, 0.25]
    assert [answers[name]["position_based"][0] for name in answers] == [0.4, 0.2, 0.4]
    # One, two and three half-lives before the youngest: 1/8, 1/4 + 1/2, 1 of 15/8.
    assert [answers[name]["time_decay"][0] for name in answers] == [0.066667, 0.4, 0.533333]
    # Without any of the three nobody converts: each removal effect is 1.
    assert sorted(answers[name]["markov"][0] for name in answers) == [0.333333, 0.333333, 0.333334]
    own = await credits_of(stubs, "c3")
    assert (own.conversions, own.revenue, own.direct_conversions) == (1, 100.0, 0)
    assert (own.currency_code, own.lookback_days) == ("USD", 30)
    assert own.HasField("as_of")
    assert own.credits[1].conversion_share == 1.0
    assert not own.credits[1].HasField("conversion_share_interval"), "one user"
    other = await credits_of(stubs, "c1")
    assert (other.conversions, other.revenue) == (0, 0.0)
    await check_sums(stubs)


async def test_a_conversion_without_a_touch_is_its_own_campaigns(stubs: Stubs, refresh: Refresh) -> None:
    await ingest(
        stubs,
        conversion("c1", 5, revenue=3.0),
        touch("c2", 4, user="u2"),
        conversion("c1", 5, user="u2", revenue=4.0),
    )
    await refresh()
    answer, other = await credits_of(stubs), await credits_of(stubs, "c2")
    assert (answer.conversions, answer.direct_conversions) == (2, 2)
    assert by_model(answer)["last_touch"] == (2.0, 7.0)
    assert by_model(answer)["linear"] == (1.5, 5.0)
    assert by_model(other)["linear"] == (0.5, 2.0)
    portfolio = await portfolio_of(stubs)
    assert (portfolio.conversions, portfolio.direct_conversions, portfolio.model) == (2, 2, "markov")
    await check_sums(stubs)


async def test_plain_purchases_count_where_a_touch_led_to_them(stubs: Stubs, refresh: Refresh) -> None:
    await ingest(
        stubs,
        touch("c1", 4),
        conversion(None, 5, revenue=8.0, merchant_id=1),
        conversion(None, 6, user="u2", revenue=16.0, merchant_id=1),
    )
    await refresh()
    portfolio = await portfolio_of(stubs, model="first_touch")
    assert (portfolio.conversions, portfolio.touched_purchases, portfolio.revenue) == (1, 1, 8.0)
    answer = await credits_of(stubs)
    assert (answer.conversions, by_model(answer)["first_touch"]) == (0, (1.0, 8.0))
    await check_sums(stubs)


async def test_machine_opens_and_stale_touches_count_for_nothing(stubs: Stubs, refresh: Refresh) -> None:
    await ingest(
        stubs,
        touch("c2", 4, is_machine_open=True),
        touch("c2", 1, kind="CLICKED", user="u2"),
        conversion("c1", 5),
        conversion("c1", 31, user="u2", hour=11),
    )
    await refresh()
    assert by_model(await credits_of(stubs, "c2"))["first_touch"] == (0.0, 0.0)
    await ingest(stubs, conversion("c1", 31, user="u2", hour=10))  # exactly 30 days after the click
    await refresh()
    assert by_model(await credits_of(stubs, "c2"))["first_touch"] == (1.0, 10.0)


async def test_deliveries_are_touches_until_views_are_reported(stubs: Stubs, refresh: Refresh) -> None:
    await ingest(stubs, touch("c2", 4, kind="DELIVERED"), conversion("c1", 5))
    await refresh()
    assert by_model(await credits_of(stubs, "c2"))["first_touch"] == (1.0, 10.0)
    await ingest(stubs, touch("c2", 20, user="u9"))
    await refresh()
    assert by_model(await credits_of(stubs, "c2"))["first_touch"] == (0.0, 0.0)


async def test_refunds_are_taken_from_the_credit_of_their_original(stubs: Stubs, refresh: Refresh) -> None:
    original = conversion("c1", 5, revenue=9.0)
    await ingest(stubs, touch("c2", 4), touch("c1", 5), original)
    await refresh()
    refund = event("r", "REFUNDED", revenue=4.0, original_event_id=original.event_id, event_time=moment(30))
    await ingest(stubs, refund)
    summary = await refresh()
    assert summary.months == 1
    assert by_model(await credits_of(stubs))["linear"] == (0.5, 2.5)
    answer = await credits_of(stubs)
    assert (answer.conversions, answer.revenue) == (1, 5.0)
    await check_sums(stubs)


async def test_late_events_have_their_months_counted_again(stubs: Stubs, refresh: Refresh) -> None:
    await ingest(stubs, conversion("c1", 5))
    await refresh()
    quiet = await refresh()
    assert quiet.months == 0
    await ingest(stubs, event("late", "VIEWED", campaign_id="c2", event_time="2026-02-20T10:00:00+00:00"))
    late = await refresh()
    assert late.months == 2
    assert by_model(await credits_of(stubs, "c2"))["first_touch"] == (1.0, 10.0)
    await check_sums(stubs, start_date="2026-02-01", end_date="2026-03-31")


async def test_another_window_counts_everything_again(stubs: Stubs, refresh: Refresh) -> None:
    await ingest(stubs, touch("c2", 1), conversion("c1", 15))
    await refresh()
    assert by_model(await credits_of(stubs, "c2"))["first_touch"] == (1.0, 10.0)
    await refresh(lookback_days=7)
    answer = await credits_of(stubs, "c2")
    assert (by_model(answer)["first_touch"], answer.lookback_days) == ((0.0, 0.0), 7)


async def test_currencies_are_worlds_of_their_own(stubs: Stubs, refresh: Refresh) -> None:
    """A touch in one currency says nothing of a conversion in another; the portfolio asks for one."""
    await add_catalog(stubs, campaign("c1"), campaign("c2", merchant_id=2))
    await ingest(stubs, touch("c2", 4), conversion("c1", 5, revenue=6.0), conversion("c2", 6, revenue=7.0))
    await refresh()
    refused = await refusal(portfolio_of(stubs))
    assert (refused.code, refused.fields) == (
        "INVALID_ARGUMENT",
        {"currency_code": "CURRENCY_REQUIRED"},
    )
    for currency, campaign_id, revenue in (("USD", "c1", 6.0), ("EUR", "c2", 7.0)):
        portfolio = await portfolio_of(stubs, currency_code=currency)
        assert [c.campaign_id for c in portfolio.campaigns] == [campaign_id]
        assert (portfolio.currency_code, portfolio.conversions) == (currency, 1)
        assert portfolio.revenue == portfolio.credited_revenue == revenue
        await check_sums(stubs, currency_code=currency)
    assert (await portfolio_of(stubs, currency_code="GBP")).conversions == 0


async def test_shares_carry_intervals_with_the_user_as_the_unit(stubs: Stubs, refresh: Refresh) -> None:
    events = []
    for n in range(120):
        user, day = f"u{n}", 1 + n % 28
        events += [touch("c1" if n % 3 else "c2", day, user=user), touch("c2", day, user=user, hour=11)]
        if n % 2:
            events.append(conversion("c2", day, user=user))
    for start in range(0, len(events), 50):
        await ingest(stubs, *events[start : start + 50])
    await refresh()
    answer = await credits_of(stubs, "c1")
    for credit in answer.credits:
        if credit.model == "last_touch":
            assert credit.conversion_share == 0
            assert not credit.HasField("conversion_share_interval")
            continue
        interval = credit.conversion_share_interval
        assert 0 < interval.lower < credit.conversion_share < interval.upper < 1, credit.model
    portfolio = await portfolio_of(stubs, model="linear")
    assert sum(c.credit.conversion_share for c in portfolio.campaigns) == pytest.approx(1)
    assert portfolio.campaigns[0].credit.HasField("conversion_share_interval")


async def test_what_cannot_be_answered_is_refused_by_field(stubs: Stubs, refresh: Refresh) -> None:
    await ingest(
        stubs, touch("c1", 4), touch("c2", 4), conversion("c1", 5), conversion("c2", 6), conversion("c2", 7)
    )
    await refresh()
    token = (await portfolio_of(stubs, page_size=1)).next_page_token
    assert token
    for fields, expected in (
        ({"model": "best_touch"}, {"model": "VALUE_UNKNOWN"}),
        ({"currency_code": "dollars"}, {"currency_code": "TEXT_INVALID"}),
        ({"page_size": -1}, {"page_size": "VALUE_OUT_OF_RANGE"}),
        ({"page_token": "nonsense"}, {"page_token": "PAGE_TOKEN_INVALID"}),
        ({"page_token": token, "model": "linear"}, {"page_token": "PAGE_TOKEN_INVALID"}),
        ({"start_date": "2026-03-02", "end_date": "2026-03-01"}, {"end_date": "RANGE_REVERSED"}),
        ({"start_date": "1066-10-14"}, {"start_date": "VALUE_OUT_OF_RANGE"}),
    ):
        refused = await refusal(portfolio_of(stubs, **fields))
        assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", expected)
    days: tuple[dict[str, str | int], ...] = (
        {"from": "yesterday"},
        {"from": 7},
        {"from": ""},
        {"from": "1066-10-14"},
        {"from": "2026-04-01", "to": "2026-03-01"},
        {"to": "2199-12-31"},
    )
    for values in days:
        refused = await refusal(portfolio_of(stubs, page_token=forged(token, **values)))
        assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", {"page_token": "PAGE_TOKEN_INVALID"})
    unknown = await refusal(credits_of(stubs, "nobody"))
    assert (unknown.code, unknown.reason) == ("NOT_FOUND", "CAMPAIGN_UNKNOWN")
    future = await credits_of(stubs, start_date=(NOW + timedelta(days=5)).date().isoformat())
    assert future.date_range.start_date == future.date_range.end_date == "2026-04-05"
