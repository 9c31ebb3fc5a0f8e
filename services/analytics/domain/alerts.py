"""Whether a metric is out of the bounds of a rule, beyond chance where the rule asks for that.

A rule is looked at every minute, and its window of days slides on. So the bound must lie outside the metric's
interval at 99.9 %, not at 95 %. By Slepian's formula for a sliding window ("First passage time for a
particular Gaussian process", Ann. Math. Statist. 32, 1961),

    P(max over one window's length > z) = 1 - Phi(z)^2 + phi(z) (z Phi(z) + phi(z)),

a metric that lies exactly on its bound then raises a false alarm in 0.7 % of the window's lengths (of seven
days, for instance), where 95 % would raise one in 16 %. Simulated, with windows that begin at midnights, it
is at most 0.6 % (`FALSE_ALARM_RATE` is what is promised). An alert is over when the metric itself is back
within its bound.

The user is the unit of every interval: the design effect of the campaign's life is lent to the window
(`alert_metrics`). A drop must be larger than its bound, and that there is one at all beyond chance: the
intervals of both windows are combined by MOVER into one of the difference (Zou and Donner, "Construction of
confidence limits about effect measures: a general approach", Statist. Med. 27, 2008), which lies below 0.
That both windows may share users makes it rather too wide.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from math import sqrt
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from services.analytics.domain.alert_metrics import AlertCounts, AlertMetric, Life
from services.analytics.domain.intervals import ConfidenceInterval
from services.analytics.domain.metrics import CONFIDENCE_LEVEL, DateRange
from services.analytics.domain.periods import day_of, day_starts_at

ALARM_CONFIDENCE_LEVEL = 0.999
FALSE_ALARM_RATE = 0.01
"""Per window's length: how often a metric that lies on its bound is mistaken for one beyond it, at most."""
DEFAULT_DAYS, DEFAULT_DROP_DAYS, MAXIMUM_DAYS = 1, 7, 90
MICROS_PER_UNIT = 1_000_000

AlertKind = Literal["above", "below", "drop"]
KINDS: tuple[AlertKind, ...] = get_args(AlertKind)
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class AlertRule:
    """What is watched, and when to tell; `campaign_id` None is the whole portfolio.

    `threshold` is a fraction for a drop, else in the unit of the metric's value: micros where that is money.
    """

    rule_id: str
    campaign_id: str | None
    currency_code: str | None
    metric: AlertMetric
    kind: AlertKind
    threshold: float
    days: int
    minimum_volume: int
    requires_significance: bool
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Alert:
    """A rule that was, or is (`closed_at` is None), out of bounds; money is in micros."""

    alert_id: str
    rule: AlertRule
    opened_at: datetime
    closed_at: datetime | None
    value: float
    value_interval: ConfidenceInterval | None
    baseline_value: float | None
    message: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a look at a rule's metric found.

    `is_beyond` says whether the metric is beyond its bound, `is_sure` whether it is beyond chance as well, or
    needs not be. The interval is at 95 %.
    """

    value: float
    interval: ConfidenceInterval | None
    baseline: float | None
    is_beyond: bool
    is_sure: bool


@dataclass(frozen=True, kw_only=True)
class AlertWindow:
    """What is counted: whole `days`, or (where given) the hours from the first moment up to the second.

    `before` is what a drop compares with.
    """

    days: DateRange
    hours: tuple[datetime, datetime] | None = None
    before: "AlertWindow | None" = None


def window_of(rule: AlertRule, now: datetime, zone: ZoneInfo) -> AlertWindow:
    """Return what a rule counts at a moment.

    The present day is among its days, but where a drop of a sum can only be told of days that are over. A sum
    that is kept by the hour is counted up to the present hour, and so many days before up to the same hour.
    """
    today = day_of(now, zone)
    if rule.kind != "drop":
        return AlertWindow(days=_days_before(today + _DAY, rule.days))
    last = today if rule.metric.drop_basis == "closed_days" else today + _DAY
    days = _days_before(last, rule.days)
    before = _days_before(days.start, rule.days)
    if rule.metric.drop_basis != "hours":
        return AlertWindow(days=days, before=AlertWindow(days=before))
    hour = time(now.astimezone(zone).hour, tzinfo=zone)
    end, end_before = (
        datetime.combine(day, hour).astimezone(UTC) for day in (today, today - rule.days * _DAY)
    )
    return AlertWindow(
        days=days,
        hours=(day_starts_at(days.start, zone), end),
        before=AlertWindow(days=before, hours=(day_starts_at(before.start, zone), end_before)),
    )


def _days_before(end: date, days: int) -> DateRange:
    """Return the so many days before `end`, which is excluded."""
    return DateRange(start=end - days * _DAY, end=end - _DAY)


def judge(rule: AlertRule, *, window: AlertCounts, before: AlertCounts | None, life: Life) -> Finding | None:
    """Return what the days watched say; None where they say nothing: undefined, or too little volume.

    Args:
        rule: what is watched.
        window: counts of the days watched.
        before: for a drop, counts of the days before.
        life: what the whole life tells of users.
    """
    metric, value = rule.metric, rule.metric.measure(window)
    if rule.kind == "drop":
        return _judge_drop(rule, window, before or AlertCounts(), life)
    if value is None or metric.volume_of(window) < rule.minimum_volume:
        return None
    strict = metric.estimate(window, life, ALARM_CONFIDENCE_LEVEL)
    if rule.kind == "above":
        is_beyond, is_sure = value > rule.threshold, strict is not None and strict.lower > rule.threshold
    else:
        is_beyond, is_sure = value < rule.threshold, strict is not None and strict.upper < rule.threshold
    return Finding(
        value=value,
        # A sum is what it is, whoever came; chance is only in what it becomes.
        interval=None if metric.is_sum else metric.estimate(window, life, CONFIDENCE_LEVEL),
        baseline=None,
        is_beyond=is_beyond,
        is_sure=is_beyond and (is_sure or metric.is_sum or not _has_chance(rule)),
    )


def _judge_drop(rule: AlertRule, window: AlertCounts, before: AlertCounts, life: Life) -> Finding | None:
    metric = rule.metric
    value, baseline = metric.measure(window), metric.measure(before)
    if value is None or baseline is None or baseline <= 0 or metric.volume_of(before) < rule.minimum_volume:
        return None
    strict = metric.estimate(window, life, ALARM_CONFIDENCE_LEVEL)
    strict_before = metric.estimate(before, life, ALARM_CONFIDENCE_LEVEL)
    is_sure = False
    if strict is not None and strict_before is not None:
        over, under = strict.upper - value, baseline - strict_before.lower
        is_sure = value - baseline + sqrt(over * over + under * under) < 0
    is_beyond = value < (1 - rule.threshold) * baseline
    return Finding(
        value=value,
        interval=metric.estimate(window, life, CONFIDENCE_LEVEL),
        baseline=baseline,
        is_beyond=is_beyond,
        is_sure=is_beyond and (is_sure or not _has_chance(rule)),
    )


def _has_chance(rule: AlertRule) -> bool:
    return rule.requires_significance and rule.metric.has_interval


def describe(rule: AlertRule, finding: Finding) -> str:
    """Return one sentence for a person."""
    whose = f"campaign {rule.campaign_id}" if rule.campaign_id else "the portfolio"
    if rule.currency_code:
        whose += f" in {rule.currency_code}"
    days = "day" if rule.days == 1 else f"{rule.days} days"
    name, shown = rule.metric.name, _show(rule, finding.value)
    if rule.kind == "drop":
        fall = 1 - finding.value / (finding.baseline or 1)
        return (
            f"{name} of {whose} is {shown} over the last {days}, {fall:.1%} below the "
            f"{_show(rule, finding.baseline or 0)} of the {days} before; the bound is {rule.threshold:.1%}"
        )
    return f"{name} of {whose} is {shown} over the last {days}, {rule.kind} {_show(rule, rule.threshold)}"


def _show(rule: AlertRule, value: float) -> str:
    return f"{value / MICROS_PER_UNIT:.2f}" if rule.metric.is_money else f"{value:.6g}"
