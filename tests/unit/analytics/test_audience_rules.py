"""Ranking of segments, the grid of recency and value, and periods of cohorts."""

from datetime import date, timedelta

import pytest

from services.analytics.domain.cohorts import (
    CohortCell,
    CohortMoney,
    CohortSums,
    maximum_periods,
    measure_cohort,
    parse_cohort_interval,
)
from services.analytics.domain.metrics import Counts
from services.analytics.domain.rfm import (
    DEFINITIONS,
    GRID,
    SCORES,
    SegmentTotals,
    choose_currency,
    list_cells,
    summarize_segments,
)
from services.analytics.domain.segments import (
    SEGMENT_METRICS,
    SegmentSums,
    StratumCounts,
    count_events,
    find_segment_reversals,
    is_measured_now,
    parse_segment_metric,
    parse_segmentation,
    rank_segments,
)
from services.common.errors import InvalidArgumentError

DAY = date(2026, 3, 2)


def sums(name: str, **counts: int) -> SegmentSums:
    return SegmentSums(segment_name=name, counts=Counts(**counts), moments=None)


def order(metric: str, *segments: SegmentSums) -> list[str]:
    return [segment.segment_name for segment in rank_segments(segments, parse_segment_metric(metric))]


def test_segments_rank_by_every_metric_with_the_undefined_last_and_ties_by_name() -> None:
    a = sums("a", impressions=10, views=5, clicks=1, conversions=1, revenue_micros=90)
    b = sums("b", impressions=20, views=8, clicks=4, conversions=2, revenue_micros=100)
    none = sums("", impressions=0)
    assert order("", a, b, none) == ["b", "a", ""]
    assert order("ctr", a, b, none) == ["b", "a", ""]
    assert order("view_rate", a, b, none) == ["a", "b", ""]
    assert order("avg_revenue", a, b, none) == ["a", "b", ""]
    assert order("revenue", a, b, none) == ["b", "a", ""]
    assert order("conversions", a, b, none) == ["b", "a", ""]
    assert order("impressions", a, b, none) == ["b", "a", ""]
    assert order("conversion_rate", sums("z", views=2, conversions=1), sums("y", views=4, conversions=2)) == [
        "y",
        "z",
    ]
    assert {parse_segment_metric(metric) for metric in SEGMENT_METRICS} == set(SEGMENT_METRICS)


def test_what_was_never_measured_has_no_interval_and_is_not_measured_now() -> None:
    segment = sums("a", impressions=10, views=5, clicks=1, conversions=1, revenue_micros=90)
    (ranked,) = rank_segments([segment], "conversion_rate")
    assert ranked.conversion_rate.value == 0.2
    assert ranked.conversion_rate.interval is None
    assert ranked.avg_revenue.value == 90
    assert ranked.avg_revenue.interval is None
    assert not is_measured_now([segment])
    assert is_measured_now([])
    assert count_events([segment, segment]) == 34


def test_reversals_of_segments_that_were_not_measured_take_views_for_independent() -> None:
    strata = [
        StratumCounts(
            segmentation="given",
            segment_name=name,
            stratified_by="month",
            stratum=stratum,
            counts=Counts(views=views, conversions=conversions),
        )
        for name, stratum, views, conversions in [
            ("a", "2026-01", 1000, 300),
            ("a", "2026-02", 100, 10),
            ("b", "2026-01", 100, 36),
            ("b", "2026-02", 1000, 160),
        ]
    ]
    (reversal,) = find_segment_reversals({}, strata)
    assert (reversal.first, reversal.second) == ("a", "b")
    assert (reversal.stratified_by, reversal.metric) == ("month", "conversion_rate")


@pytest.mark.parametrize(
    ("parse", "field"),
    [
        (parse_segmentation, "segmentation"),
        (parse_segment_metric, "metric"),
        (parse_cohort_interval, "interval"),
    ],
)
def test_unknown_names_are_refused_with_those_that_are_known(parse: type, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        parse("astrology")
    assert refused.value.violations[0].field == field
    assert "must be one of" in refused.value.violations[0].description


def test_the_grid_has_a_described_segment_in_every_cell() -> None:
    recency, value, names = list_cells()
    assert list(zip(recency, value, strict=True)) == [(r, v) for r in SCORES for v in SCORES]
    assert set(names) == set(DEFINITIONS)
    assert set(GRID) == set(SCORES)
    assert GRID[5][4] == "champions"
    assert GRID[1][0] == "lost"


def test_segments_without_money_have_no_share_of_it() -> None:
    totals = [
        SegmentTotals(
            currency_code="USD",
            segment_name="new",
            users=2,
            recency_days=3,
            frequency=2,
            monetary_micros=0,
        )
    ]
    segments = {segment.segment_name: segment for segment in summarize_segments(totals, "USD")}
    assert segments["new"].user_share == 1
    assert segments["new"].revenue_share is None
    assert segments["new"].mean_recency_days == 1.5
    assert summarize_segments([], "")[0].user_share is None
    assert choose_currency(totals, "") == "USD"
    assert choose_currency([], "") == ""


def cell(active: int, **money: int) -> CohortCell:
    usd = {"USD": CohortMoney(revenue_micros=money["revenue"])} if money else {}
    return CohortCell(active_users=active, engaged_users=active, money=usd)


def test_periods_run_without_gaps_up_to_today_and_the_open_one_is_told() -> None:
    cohort = CohortSums(cohort_day=DAY, users=4, cells={0: cell(4, revenue=8), 3: cell(1, revenue=4)})
    weeks = measure_cohort(cohort, "weekly", today=DAY + timedelta(days=27), periods=100)
    assert [p.active_users for p in weeks.periods] == [4, 0, 0, 1]
    assert [p.is_complete for p in weeks.periods] == [True, True, True, False]
    assert [p.cumulative_revenue_per_user for p in weeks.periods] == [2, 2, 2, 3]
    over = measure_cohort(cohort, "weekly", today=DAY + timedelta(days=28), periods=100)
    assert [p.is_complete for p in over.periods] == [True, True, True, True, False]
    short = measure_cohort(cohort, "weekly", today=DAY + timedelta(days=27), periods=2)
    assert len(short.periods) == 2


def test_events_ahead_of_the_clock_keep_their_period() -> None:
    cohort = CohortSums(cohort_day=DAY, users=1, cells={0: cell(1), 1: cell(1)})
    days = measure_cohort(cohort, "daily", today=DAY, periods=90)
    assert [(p.active_users, p.is_complete) for p in days.periods] == [(1, False), (1, False)]
    assert days.currency_code is None
    assert days.periods[0].revenue_micros == 0


def test_months_are_thirty_days_and_years_are_limited() -> None:
    cohort = CohortSums(cohort_day=DAY, users=1, cells={})
    months = measure_cohort(cohort, "monthly", today=DAY + timedelta(days=60), periods=9)
    assert [(p.date_range.start, p.date_range.end) for p in months.periods] == [
        (DAY + timedelta(days=30 * n), DAY + timedelta(days=30 * n + 29)) for n in range(3)
    ]
    assert (maximum_periods("daily"), maximum_periods("weekly"), maximum_periods("monthly")) == (90, 523, 122)
