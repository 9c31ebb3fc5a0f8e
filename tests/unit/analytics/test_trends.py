"""Trends without gaps, clock changes included, which periods are whole, and what is looked for in them."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.analytics.domain.metrics import Counts, DateRange
from services.analytics.domain.periods import Interval
from services.analytics.domain.trends import (
    MAXIMUM_SEARCHED,
    TrendPoint,
    fill_days,
    fill_hours,
    find_unusual_points,
)

NEW_YORK = ZoneInfo("America/New_York")
LATER = datetime(2030, 1, 1, tzinfo=UTC)
TODAY = date(2030, 1, 1)


def days(start: str, end: str) -> DateRange:
    return DateRange(start=date.fromisoformat(start), end=date.fromisoformat(end))


@pytest.mark.parametrize(
    ("day", "hours", "first", "last"),
    [
        ("2026-03-08", 23, "2026-03-08T00:00:00-05:00", "2026-03-08T23:00:00-04:00"),
        ("2026-11-01", 25, "2026-11-01T00:00:00-04:00", "2026-11-01T23:00:00-05:00"),
        ("2026-07-04", 24, "2026-07-04T00:00:00-04:00", "2026-07-04T23:00:00-04:00"),
    ],
)
def test_a_day_has_as_many_hours_as_the_clock_gives_it(day: str, hours: int, first: str, last: str) -> None:
    points = fill_hours({}, days(day, day), NEW_YORK, now=LATER)
    assert len(points) == hours
    assert len({point.period for point in points}) == hours
    assert (points[0].period, points[-1].period) == (first, last)


def test_the_repeated_hour_is_two_hours() -> None:
    counts = {
        datetime(2026, 11, 1, 5, tzinfo=UTC): Counts(views=1),
        datetime(2026, 11, 1, 6, tzinfo=UTC): Counts(views=2),
        datetime(2026, 11, 2, 6, tzinfo=UTC): Counts(views=4),
    }
    points = {
        p.period: p.counts.views
        for p in fill_hours(counts, days("2026-11-01", "2026-11-01"), NEW_YORK, now=LATER)
    }
    assert points["2026-11-01T01:00:00-04:00"] == 1
    assert points["2026-11-01T01:00:00-05:00"] == 2
    assert sum(points.values()) == 3


def test_a_day_whose_midnight_is_skipped_has_an_hour_less() -> None:
    """In Beirut the clock went from 00:00 to 01:00 on 2022-03-27."""
    assert len(fill_hours({}, days("2022-03-27", "2022-03-27"), ZoneInfo("Asia/Beirut"), now=LATER)) == 23


def test_gaps_are_zeros_and_weeks_begin_on_monday() -> None:
    counts = {
        date(2026, 2, 23): Counts(clicks=1),
        date(2026, 3, 2): Counts(clicks=2),
        date(2026, 3, 23): Counts(clicks=4),
    }
    points = fill_days(counts, days("2026-03-01", "2026-03-19"), "weekly", today=TODAY)
    assert [(p.period, p.counts.clicks) for p in points] == [
        ("2026-02-23", 1),
        ("2026-03-02", 2),
        ("2026-03-09", 0),
        ("2026-03-16", 0),
    ]


def test_iso_weeks_run_over_the_turn_of_the_year() -> None:
    points = fill_days({}, days("2025-12-31", "2026-01-05"), "weekly", today=TODAY)
    assert [p.period for p in points] == ["2025-12-29", "2026-01-05"]


def test_months_and_days_are_named_by_their_first_day() -> None:
    counts = {date(2026, 1, 1): Counts(views=1), date(2026, 2, 1): Counts(views=2)}
    monthly = fill_days(counts, days("2026-01-31", "2026-03-01"), "monthly", today=TODAY)
    assert [(p.period, p.counts.views) for p in monthly] == [
        ("2026-01-01", 1),
        ("2026-02-01", 2),
        ("2026-03-01", 0),
    ]
    counts = {date(2026, 1, 31): Counts(views=1), date(2026, 2, 1): Counts(views=2)}
    daily = fill_days(counts, days("2026-01-31", "2026-02-01"), "daily", today=TODAY)
    assert [(p.period, p.counts.views) for p in daily] == [("2026-01-31", 1), ("2026-02-01", 2)]


@pytest.mark.parametrize(
    ("interval", "start", "end", "today", "partial"),
    [
        ("weekly", "2026-03-04", "2026-03-17", "2026-04-01", [True, False, True]),
        ("weekly", "2026-03-02", "2026-03-15", "2026-04-01", [False, False]),
        ("weekly", "2026-03-02", "2026-03-15", "2026-03-15", [False, True]),
        ("weekly", "2026-03-02", "2026-03-15", "2026-03-04", [True, True]),
        ("monthly", "2026-01-02", "2026-03-31", "2026-04-01", [True, False, False]),
        ("monthly", "2026-02-01", "2026-03-30", "2026-04-01", [False, True]),
        ("daily", "2026-03-01", "2026-03-03", "2026-03-02", [False, True, True]),
    ],
)
def test_periods_that_the_range_or_the_present_cuts_are_partial(
    interval: Interval, start: str, end: str, today: str, partial: list[bool]
) -> None:
    points = fill_days({}, days(start, end), interval, today=date.fromisoformat(today))
    assert [point.is_partial for point in points] == partial


def test_the_hour_that_is_not_over_is_partial() -> None:
    now = datetime(2026, 7, 4, 14, 30, tzinfo=UTC)  # half past ten in New York
    points = fill_hours({}, days("2026-07-04", "2026-07-04"), NEW_YORK, now=now)
    assert [point.is_partial for point in points].index(True) == 10
    assert (points[0].season, points[23].season) == (5 * 24, 5 * 24 + 23)  # a Saturday


def steady(size: int, **unusual: int) -> list[TrendPoint]:
    """`size` days of 100 conversions and 5 more on odd ones; others by place, as p40=300."""
    first = date(2025, 1, 6)
    values = [100 + 5 * (place % 2) for place in range(size)]
    for name, value in unusual.items():
        values[int(name[1:])] = value
    return [
        TrendPoint(
            period=(first + timedelta(days=place)).isoformat(),
            counts=Counts(conversions=value, revenue_micros=value * 20_000_000),
            season=place % 7,
        )
        for place, value in enumerate(values)
    ]


def test_an_anomaly_says_what_was_expected() -> None:
    found = find_unusual_points(steady(60, p40=300), "daily")
    assert [(a.place, a.metric, a.direction) for a in found.anomalies] == [
        (40, "conversions", "high"),
        (40, "revenue", "high"),
    ]
    conversions, revenue = found.anomalies
    assert conversions.expected == pytest.approx(102, abs=4)
    assert conversions.interval.lower < 100
    assert 105 < conversions.interval.upper < 300
    assert revenue.expected == pytest.approx(102 * 20_000_000, rel=0.04)
    assert not found.changes
    assert "weekday" in found.method


def test_a_day_without_conversions_is_low() -> None:
    found = find_unusual_points(steady(60, p59=0), "daily")
    assert {(a.place, a.direction) for a in found.anomalies} == {(59, "low")}


def test_a_short_history_is_not_judged() -> None:
    assert find_unusual_points(steady(41, p20=900), "daily").method == ""
    assert find_unusual_points(steady(42, p20=900), "daily").anomalies
    assert find_unusual_points(steady(60), "monthly").method
    assert find_unusual_points([], "weekly").anomalies == ()


def test_what_comes_before_the_first_event_and_what_is_cut_short_is_not_judged() -> None:
    empty = [TrendPoint(period=f"before-{n}", counts=Counts()) for n in range(30)]
    cut = [TrendPoint(period="today", counts=Counts(conversions=1), is_partial=True)]
    found = find_unusual_points([*empty, *steady(60), *cut], "daily")
    assert found.method
    assert (found.anomalies, found.changes) == ([], [])
    assert find_unusual_points([*empty, *steady(30)], "daily").method == ""


def test_only_the_latest_periods_are_searched() -> None:
    found = find_unusual_points(steady(MAXIMUM_SEARCHED + 100, p50=900, p150=900), "daily")
    assert {a.place for a in found.anomalies} == {150}
    assert str(MAXIMUM_SEARCHED) in found.method


def test_hours_have_the_season_of_the_day_and_with_four_weeks_of_the_week() -> None:
    """Every Sunday noon has twice as many: an anomaly only for whom all days are alike."""
    first = datetime(2026, 1, 5, tzinfo=UTC)

    def hours(weeks: int) -> list[TrendPoint]:
        moments = [first + timedelta(hours=n) for n in range(weeks * 168)]
        return [
            TrendPoint(
                period=moment.isoformat(),
                counts=Counts(views=200 if (moment.weekday(), moment.hour) == (6, 12) else 100),
                season=24 * moment.weekday() + moment.hour,
            )
            for moment in moments
        ]

    assert len(find_unusual_points(hours(3), "hourly").anomalies) == 3
    assert find_unusual_points(hours(5), "hourly").anomalies == []


def test_what_comes_once_a_week_is_no_anomaly() -> None:
    """About 300 every Saturday and nothing else: bursts are this campaign's ordinary weeks."""
    values = [(280, 330, 300, 310)[place // 7 % 4] if place % 7 == 5 else 0 for place in range(90)]
    points = [
        TrendPoint(period=str(place), counts=Counts(impressions=value), season=place % 7)
        for place, value in enumerate(values)
    ]
    found = find_unusual_points(points, "daily")
    assert (found.anomalies, found.changes) == ([], [])


def test_the_end_of_a_campaign_is_a_change() -> None:
    points = steady(90)
    ended = [replace(p, counts=Counts()) if place >= 60 else p for place, p in enumerate(points)]
    found = find_unusual_points(ended, "daily")
    assert {(c.place, c.level_after) for c in found.changes} == {(60, 0.0)}
