"""A campaign's counts period by period, without gaps, and what is out of the ordinary in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from services.analytics.domain.anomalies import Anomaly, Change, find_unusual
from services.analytics.domain.metrics import Counts, DateRange
from services.analytics.domain.periods import Interval, day_starts_at, period_start

MAXIMUM_SEARCHED = 1_100
"""Periods, the latest ones, in which something unusual is looked for: three years of days, six weeks of
hours."""
SEARCHED = ("impressions", "views", "clicks", "conversions", "revenue")
"""The measures in which something unusual is looked for."""
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class TrendPoint:
    """The counts of one period, named as the contract names it.

    `season` numbers what recurs: the weekday of a day, the hour of the week of an hour, 0 for all others.
    `is_partial`: the range or the present cuts the period short.
    """

    period: str
    counts: Counts
    season: int = 0
    is_partial: bool = False


@dataclass(frozen=True, kw_only=True)
class SearchRule:
    """How unusual periods of an interval are looked for.

    From `minimum_periods` whole ones on; at least `shortest_level` periods make a level; `season` in words.
    """

    minimum_periods: int
    shortest_level: int
    season: str


SEARCH_RULES: Mapping[Interval, SearchRule] = {
    "hourly": SearchRule(minimum_periods=336, shortest_level=24, season="hour of day or week"),
    "daily": SearchRule(minimum_periods=42, shortest_level=7, season="weekday"),
    "weekly": SearchRule(minimum_periods=26, shortest_level=4, season="no"),
    "monthly": SearchRule(minimum_periods=24, shortest_level=3, season="no"),
}
_HOURS_OF_WEEK_FROM = 672
"""Four weeks of hours: with fewer the season of an hour is that of the day."""


@dataclass(frozen=True, kw_only=True)
class Unusual:
    """What is out of the ordinary, by place among the points; no `method` where nothing was looked for."""

    anomalies: Sequence[Anomaly] = ()
    changes: Sequence[Change] = ()
    method: str = ""


def fill_days(
    counts: Mapping[date, Counts], period: DateRange, interval: Interval, *, today: date
) -> Sequence[TrendPoint]:
    """Return one point per day, week or month that the range touches; only its days are counted.

    Args:
        counts: by the first day of each period, of the range's days alone.
        period: the range.
        interval: not hourly.
        today: the day that is not over.
    """
    points = []
    start = period_start(period.start, interval)
    while start <= period.end:
        following = period_start(start + _STEPS[interval], interval)
        is_cut = start < period.start or following - _DAY > period.end or following > today
        points.append(
            TrendPoint(
                period=start.isoformat(),
                counts=counts.get(start, _NOTHING),
                season=start.weekday() if interval == "daily" else 0,
                is_partial=is_cut,
            )
        )
        start = following
    return points


_STEPS: Mapping[Interval, timedelta] = {"daily": _DAY, "weekly": 7 * _DAY, "monthly": 31 * _DAY}
_NOTHING = Counts()


def fill_hours(
    counts: Mapping[datetime, Counts], period: DateRange, zone: ZoneInfo, *, now: datetime
) -> Sequence[TrendPoint]:
    """Return one point per hour of the range's days in the zone, 23 or 25 of them where the clock changes.

    Hours go by the clock on the wall, so that where the clock changes by half an hour a point may be half as
    long; `counts` is keyed by the beginning of such hours, in UTC.
    """
    moment, end = day_starts_at(period.start, zone), day_starts_at(period.end + _DAY, zone)
    hours = {hour: sums for hour, sums in counts.items() if moment <= hour < end}
    while moment < end:
        hours.setdefault(moment, _NOTHING)
        moment += _HOUR
    points = []
    for hour in sorted(hours):
        wall = hour.astimezone(zone)
        points.append(
            TrendPoint(
                period=wall.isoformat(timespec="seconds"),
                counts=hours[hour],
                season=24 * wall.weekday() + wall.hour,
                is_partial=hour + _HOUR > now,
            )
        )
    return points


def find_unusual_points(points: Sequence[TrendPoint], interval: Interval) -> Unusual:
    """Look for anomalies and changes of level among whole periods, from the campaign's first event on.

    Nothing is looked for where fewer periods are whole than `SEARCH_RULES` asks for.
    """
    rule = SEARCH_RULES[interval]
    whole = [place for place, point in enumerate(points) if not point.is_partial]
    begun = next((i for i, place in enumerate(whole) if points[place].counts != _NOTHING), len(whole))
    whole = whole[max(begun, len(whole) - MAXIMUM_SEARCHED) :]
    if len(whole) < rule.minimum_periods:
        return Unusual()
    seasons = [points[place].season for place in whole]
    if interval == "hourly" and len(whole) < _HOURS_OF_WEEK_FROM:
        seasons = [season % 24 for season in seasons]
    columns = tuple(
        tuple(getattr(points[place].counts, _COLUMNS.get(metric, metric)) for place in whole)
        for metric in SEARCHED
    )
    anomalies, changes = _search(columns, tuple(seasons), rule.shortest_level)
    return Unusual(
        anomalies=[replace(anomaly, place=whole[anomaly.place]) for anomaly in anomalies],
        changes=[replace(change, place=whole[change.place]) for change in changes],
        method=(
            f"{rule.season} season by running medians, binary segmentation over arcs with BIC penalty, "
            f"negative-binomial bounds at 5 % over all of the latest {len(whole)} whole periods (Bonferroni)"
        ),
    )


_COLUMNS = {"revenue": "revenue_micros"}


@lru_cache(maxsize=256)
def _search(
    columns: tuple[tuple[int, ...], ...], seasons: tuple[int, ...], shortest: int
) -> tuple[Sequence[Anomaly], Sequence[Change]]:
    """Return what `find_unusual` says; the same counts are asked about again and again."""
    series = dict(zip(SEARCHED, columns, strict=True))
    conversions, revenue = sum(series["conversions"]), sum(series["revenue"])
    if conversions == 0:
        del series["revenue"]
    return find_unusual(
        series, seasons, shortest=shortest, units={"revenue": max(revenue, 1) / max(conversions, 1)}
    )
