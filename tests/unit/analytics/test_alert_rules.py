"""When a rule is out of its bound: windows of days and hours, intervals, drops, and too little to say."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.analytics.domain.alert_metrics import METRICS, AlertCounts, Life, estimate_total_interval
from services.analytics.domain.alerts import AlertRule, describe, judge, window_of
from services.analytics.domain.metrics import DateRange

NEW_YORK = ZoneInfo("America/New_York")
# A thousand users with ten views each, one in two of whom converted once, for 10 each at a cost of 4.
LIFE = Life(
    users=1000,
    paying_users=500,
    notified_users=1000,
    counts=AlertCounts(
        impressions=10_000,
        views=10_000,
        clicks=1000,
        conversions=500,
        revenue_micros=5_000_000_000,
        cost_micros=4_000_000_000,
        notification_deliveries=1000,
        notification_opens=300,
    ),
    products={
        "impressions_impressions": 100_000,
        "impressions_views": 100_000,
        "views_views": 100_000,
        "impressions_clicks": 10_000,
        "clicks_clicks": 1000,
        "views_conversions": 5000,
        "conversions_conversions": 500,
        "impressions_revenue": 50_000_000_000,
        "revenue_revenue": 50_000_000_000_000_000,
        "revenue_cost": 20_000_000_000_000_000,
        "cost_cost": 16_000_000_000_000_000,
        "conversions_cost": 2_000_000_000,
        "deliveries_deliveries": 1000,
        "deliveries_opens": 300,
        "opens_opens": 300,
    },
)


def rule(metric: str, kind: str, threshold: float, **fields: Any) -> AlertRule:  # noqa: ANN401
    values: dict[str, Any] = {
        "rule_id": "r1",
        "campaign_id": "c1",
        "currency_code": None,
        "metric": METRICS[metric],
        "kind": kind,
        "threshold": threshold,
        "days": 1,
        "minimum_volume": 100 if METRICS[metric].is_rate else 0,
        "requires_significance": True,
        "created_at": datetime(2026, 3, 1, tzinfo=UTC),
    }
    return AlertRule(**values | fields)


def counts(**fields: int) -> AlertCounts:
    return AlertCounts(**fields)


@pytest.mark.parametrize(
    ("conversions", "kind", "is_beyond", "is_sure"),
    [
        (10, "below", True, True),  # 0.01, from 0.001 to 0.03 at 99.9 %
        (45, "below", True, False),  # 0.045 may be 0.05
        (55, "below", False, False),
        (55, "above", True, False),
        (120, "above", True, True),
    ],
)
def test_a_rate_must_be_beyond_chance(conversions: int, kind: str, is_beyond: bool, is_sure: bool) -> None:
    window = counts(views=1000, conversions=conversions)
    finding = judge(rule("conversion_rate", kind, 0.05), window=window, before=None, life=LIFE)
    assert finding is not None
    assert (finding.is_beyond, finding.is_sure) == (is_beyond, is_sure)
    assert finding.value == conversions / 1000
    assert finding.interval is not None
    assert finding.interval.lower < finding.value < finding.interval.upper
    careless = rule("conversion_rate", kind, 0.05, requires_significance=False)
    told = judge(careless, window=window, before=None, life=LIFE)
    assert told is not None
    assert told.is_sure == is_beyond


def test_a_sum_above_its_bound_is_no_matter_of_chance() -> None:
    for metric, window in (
        ("cost", counts(cost_micros=10_000_001)),
        ("conversions", counts(conversions=11)),
        ("unsubscribes", counts(unsubscribes=11)),
    ):
        bound = 10_000_000 if METRICS[metric].is_money else 10
        finding = judge(rule(metric, "above", bound), window=window, before=None, life=LIFE)
        assert finding is not None
        assert finding.is_sure
        assert finding.interval is None
    below = judge(rule("profit", "below", -1.0), window=counts(cost_micros=2), before=None, life=LIFE)
    assert below is not None
    assert below.is_sure


@pytest.mark.parametrize(
    ("metric", "window"),
    [
        ("conversion_rate", counts(views=99)),
        ("conversion_rate", counts()),
        ("roas", counts(revenue_micros=5)),
        ("cost_per_conversion", counts(cost_micros=5)),
        ("profit_margin", counts(cost_micros=5)),
    ],
)
def test_what_is_undefined_or_of_too_little_volume_says_nothing(metric: str, window: AlertCounts) -> None:
    assert judge(rule(metric, "below", 0.9), window=window, before=None, life=LIFE) is None


@pytest.mark.parametrize("follows", ["clicks", "conversions"])
def test_a_source_that_reports_no_views_has_no_view_rate(follows: str) -> None:
    window = AlertCounts(impressions=10_000, **{follows: 100})
    assert judge(rule("view_rate", "below", 0.5), window=window, before=None, life=LIFE) is None
    before = AlertCounts(impressions=10_000, views=5_000)
    assert judge(rule("view_rate", "drop", 0.5), window=window, before=before, life=LIFE) is None
    unseen = judge(
        rule("view_rate", "below", 0.5), window=AlertCounts(impressions=10_000), before=None, life=LIFE
    )
    assert unseen is not None
    assert unseen.is_sure


@pytest.mark.parametrize("metric", ["roas", "roi", "profit_margin", "revenue_per_impression"])
def test_money_ratios_are_beyond_chance_with_enough_buyers(metric: str) -> None:
    bound = {"roas": 1.0, "roi": 0.0, "profit_margin": 0.0, "revenue_per_impression": 400_000.0}[metric]
    for share, is_sure in ((1, True), (100, False)):
        window = counts(
            impressions=10_000 // share,
            conversions=200 // share,
            revenue_micros=2_000_000_000 // share,
            cost_micros=4_000_000_000 // share,
        )
        finding = judge(rule(metric, "below", bound), window=window, before=None, life=LIFE)
        assert finding is not None
        assert (finding.is_beyond, finding.is_sure) == (True, is_sure)


def test_no_revenue_at_all_is_sure_where_some_was_due() -> None:
    lost = counts(impressions=4000, cost_micros=1_600_000_000)
    finding = judge(rule("roas", "below", 0.5), window=lost, before=None, life=LIFE)
    assert finding is not None
    assert (finding.value, finding.is_sure) == (0.0, True)
    little = counts(impressions=40, cost_micros=16_000_000)
    early = judge(rule("roas", "below", 0.5), window=little, before=None, life=LIFE)
    assert early is not None
    assert not early.is_sure
    loss = judge(rule("roi", "below", -0.5), window=lost, before=None, life=LIFE)
    assert loss is not None
    assert (loss.value, loss.is_sure) == (-1.0, True)
    new = judge(rule("roas", "below", 0.5), window=lost, before=None, life=Life())
    assert new is not None
    assert not new.is_sure


def test_cost_per_conversion_and_opens_have_intervals() -> None:
    dear = counts(conversions=400, cost_micros=8_000_000_000)
    finding = judge(rule("cost_per_conversion", "above", 10_000_000), window=dear, before=None, life=LIFE)
    assert finding is not None
    assert finding.is_sure
    free = counts(conversions=400, cost_micros=1)
    first = judge(rule("cost_per_conversion", "above", 0), window=free, before=None, life=Life())
    assert first is not None
    assert (first.interval, first.is_sure) == (None, False)
    opens = counts(notification_deliveries=1000, notification_opens=100)
    opened = judge(rule("notification_open_rate", "below", 0.2), window=opens, before=None, life=LIFE)
    assert opened is not None
    assert opened.is_sure


@pytest.mark.parametrize(
    ("before", "now", "is_beyond", "is_sure"),
    [
        (1000, 500, True, True),
        (1000, 790, True, True),  # a fall of 21 % is beyond the bound, and that it fell beyond chance
        (100, 75, True, False),
        (1000, 810, False, False),
        (1000, 0, True, True),
    ],
)
def test_a_drop_is_told_when_it_is_beyond_chance(
    before: int, now: int, is_beyond: bool, is_sure: bool
) -> None:
    finding = judge(
        rule("conversions", "drop", 0.2),
        window=counts(conversions=now),
        before=counts(conversions=before),
        life=LIFE,
    )
    assert finding is not None
    assert (finding.is_beyond, finding.is_sure) == (is_beyond, is_sure)
    assert (finding.value, finding.baseline) == (now, before)


@pytest.mark.parametrize(
    ("metric", "before"),
    [
        ("conversions", counts()),
        ("profit", counts(cost_micros=5)),
        ("conversion_rate", counts(views=99, conversions=50)),
    ],
)
def test_there_is_no_drop_from_nothing_a_loss_or_too_little(metric: str, before: AlertCounts) -> None:
    window = counts(views=1000)
    assert judge(rule(metric, "drop", 0.2), window=window, before=before, life=LIFE) is None


def test_a_drop_of_what_has_no_interval_is_told_as_it_is() -> None:
    finding = judge(
        rule("cost", "drop", 0.2), window=counts(cost_micros=79), before=counts(cost_micros=100), life=LIFE
    )
    assert finding is not None
    assert finding.is_sure


def test_a_rule_counts_its_days_with_the_present_one() -> None:
    now = datetime(2026, 3, 9, 3, 30, tzinfo=UTC)  # 23:30 of 8 March in New York, the day the clock changed
    window = window_of(rule("roas", "below", 1.0, days=3), now, NEW_YORK)
    assert window.days == DateRange(start=date(2026, 3, 6), end=date(2026, 3, 8))
    assert (window.hours, window.before) == (None, None)


def test_a_drop_of_a_rate_compares_days_with_days() -> None:
    window = window_of(
        rule("ctr", "drop", 0.5, days=7), datetime(2026, 3, 31, 12, tzinfo=UTC), ZoneInfo("UTC")
    )
    assert window.days == DateRange(start=date(2026, 3, 25), end=date(2026, 3, 31))
    assert window.before is not None
    assert window.before.days == DateRange(start=date(2026, 3, 18), end=date(2026, 3, 24))


def test_a_drop_of_a_sum_ends_both_times_at_the_same_hour() -> None:
    now = datetime(2026, 3, 8, 16, 45, tzinfo=UTC)  # 12:45 in New York, by then at UTC-4
    window = window_of(rule("conversions", "drop", 0.5, days=2), now, NEW_YORK)
    assert window.hours == (datetime(2026, 3, 7, 5, tzinfo=UTC), datetime(2026, 3, 8, 16, tzinfo=UTC))
    assert window.before is not None
    assert window.before.hours == (
        datetime(2026, 3, 5, 5, tzinfo=UTC),
        datetime(2026, 3, 6, 17, tzinfo=UTC),
    )


def test_a_drop_of_what_has_no_hours_is_of_days_that_are_over() -> None:
    now = datetime(2026, 3, 31, 12, tzinfo=UTC)
    window = window_of(rule("profit", "drop", 0.5, days=2), now, ZoneInfo("UTC"))
    assert window.days == DateRange(start=date(2026, 3, 29), end=date(2026, 3, 30))
    assert window.before is not None
    assert window.before.days == DateRange(start=date(2026, 3, 27), end=date(2026, 3, 28))


def test_an_alert_says_what_happened() -> None:
    fall = rule("revenue", "drop", 0.25, days=7, campaign_id=None, currency_code="EUR")
    finding = judge(
        fall, window=counts(revenue_micros=50_000_000), before=counts(revenue_micros=100_000_000), life=LIFE
    )
    assert finding is not None
    assert describe(fall, finding) == (
        "revenue of the portfolio in EUR is 50.00 over the last 7 days, 50.0% below the 100.00 of the 7 days"
        " before; the bound is 25.0%"
    )
    low = rule("conversion_rate", "below", 0.05)
    finding = judge(low, window=counts(views=300, conversions=1), before=None, life=LIFE)
    assert finding is not None
    assert describe(low, finding) == (
        "conversion_rate of campaign c1 is 0.00333333 over the last day, below 0.05"
    )


@pytest.mark.parametrize(
    ("total", "lower", "upper"),
    # Exact Poisson limits at 95 %: Garwood, Biometrika 28 (1936), table 1 (as in Johnson, Kemp and Kotz,
    # "Univariate Discrete Distributions", section 4.7.3).
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (10, 4.795, 18.39), (50, 37.11, 65.92)],
)
def test_a_sum_of_ones_has_garwoods_interval(total: int, lower: float, upper: float) -> None:
    interval = estimate_total_interval(total, life_total=100, life_squares=100, confidence_level=0.95)
    assert interval is not None
    assert interval.lower == pytest.approx(lower, rel=2e-3)
    assert interval.upper == pytest.approx(upper, rel=2e-3)


def test_amounts_widen_the_interval_and_a_negative_sum_has_none() -> None:
    ones = estimate_total_interval(400, life_total=100, life_squares=100, confidence_level=0.95)
    fours = estimate_total_interval(400, life_total=100, life_squares=400, confidence_level=0.95)
    assert ones is not None
    assert fours is not None
    assert (fours.upper - 400) / (ones.upper - 400) == pytest.approx(2, rel=0.1)
    assert estimate_total_interval(-1, life_total=1, life_squares=1, confidence_level=0.95) is None
    assert estimate_total_interval(1, life_total=0, life_squares=0, confidence_level=0.95) is None


def test_an_imported_cost_is_no_users_and_adds_no_width() -> None:
    """The campaign's users as before, and as much again imported: a ROAS of half, as sure as it was."""
    imported = LIFE.counts.cost_micros
    both = replace(LIFE.counts, cost_micros=2 * imported)
    known = replace(LIFE, counts=both, imported_cost_micros=imported)
    mistaken = replace(LIFE, counts=both)

    def relative_width(life: Life) -> float:
        interval = METRICS["roas"].estimate(life.counts, life, 0.95)
        assert interval is not None
        return (interval.upper - interval.lower) / (life.counts.revenue_micros / life.counts.cost_micros)

    assert relative_width(known) < relative_width(mistaken)
