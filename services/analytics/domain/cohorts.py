"""Cohorts: how users came back, and what they spent, by the day of their first event."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, get_args

from services.analytics.domain.intervals import (
    RatioMoments,
    estimate_ratio_interval,
    estimate_wilson_interval,
)
from services.analytics.domain.metrics import DateRange, Estimate
from services.analytics.domain.periods import MAXIMUM_DAYS
from services.common.errors import invalid_field

CohortInterval = Literal["daily", "weekly", "monthly"]
COHORT_INTERVALS: tuple[CohortInterval, ...] = get_args(CohortInterval)
INTERVAL_DAYS: Mapping[CohortInterval, int] = {"daily": 1, "weekly": 7, "monthly": 30}
MAXIMUM_DAILY_PERIODS = 90
DEFAULT_LISTED_PERIODS = 26


@dataclass(frozen=True, kw_only=True)
class CohortMoney:
    """What a cohort spent in a period in one currency, and sums of squares over users; in micros."""

    paying_users: int = 0
    revenue_micros: int = 0
    cost_micros: int = 0
    revenue_revenue: int = 0
    revenue_cost: int = 0
    cost_cost: int = 0
    revenue_revenue_revenue: int = 0


@dataclass(frozen=True, kw_only=True)
class CohortCell:
    """A cohort in one period: users with an event, users who did something, and money by currency."""

    active_users: int = 0
    engaged_users: int = 0
    money: Mapping[str, CohortMoney]


@dataclass(frozen=True, kw_only=True)
class CohortSums:
    """A cohort, and its cells by the index of the period; what is absent is empty."""

    cohort_day: date
    users: int
    cells: Mapping[int, CohortCell]


@dataclass(frozen=True, kw_only=True)
class CohortPeriod:
    """A cohort in one period; money is in micros, and None where the cohort spent in several currencies."""

    period_index: int
    date_range: DateRange
    active_users: int
    engaged_users: int
    retention_rate: Estimate
    engagement_rate: Estimate
    revenue_micros: int | None
    cost_micros: int | None
    roas: Estimate
    cumulative_revenue_per_user: float | None
    is_complete: bool


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """The users of one first day.

    `currency_code` is that of all money, None where there is none or several.
    """

    cohort_day: date
    users: int
    currency_code: str | None
    periods: Sequence[CohortPeriod]


def parse_cohort_interval(text: str) -> CohortInterval:
    """Return the interval of that name, `weekly` for the empty one; refused by field otherwise."""
    for interval in COHORT_INTERVALS:
        if interval == (text or "weekly"):
            return interval
    raise invalid_field("interval", f"must be one of {', '.join(COHORT_INTERVALS)}", "VALUE_UNKNOWN")


def maximum_periods(interval: CohortInterval) -> int:
    """Return how many periods are kept: 90 days, or weeks and months of ten years."""
    if interval == "daily":
        return MAXIMUM_DAILY_PERIODS
    return -(-MAXIMUM_DAYS // INTERVAL_DAYS[interval])


def measure_cohort(
    sums: CohortSums, interval: CohortInterval, *, today: date, periods: int, currency_code: str = ""
) -> Cohort:
    """Return a cohort's first `periods` periods up to the one of `today`, without gaps.

    Args:
        sums: the cohort; its money is that of `currency_code`, or of all currencies where that is empty.
        interval: the length of a period.
        today: the day up to which events are counted; a period that it lies in, or lies before, is not over.
        periods: the most to return.
        currency_code: the currency asked for; empty: the only one.
    """
    length = INTERVAL_DAYS[interval]
    last = max([(today - sums.cohort_day).days // length, *sums.cells])
    currencies = sorted({currency for cell in sums.cells.values() for currency in cell.money})
    currency = currency_code or (currencies[0] if len(currencies) == 1 else None)
    is_money_defined = currency is not None or not currencies
    points, revenue_so_far = [], 0
    for index in range(min(last + 1, periods)):
        cell = sums.cells.get(index, CohortCell(money={}))
        money = cell.money.get(currency or "", CohortMoney())
        revenue_so_far += money.revenue_micros
        start = sums.cohort_day + timedelta(days=index * length)
        end = start + timedelta(days=length - 1)
        points.append(
            CohortPeriod(
                period_index=index,
                date_range=DateRange(start=start, end=end),
                active_users=cell.active_users,
                engaged_users=cell.engaged_users,
                retention_rate=_share(cell.active_users, sums.users),
                engagement_rate=_share(cell.engaged_users, sums.users),
                revenue_micros=money.revenue_micros if is_money_defined else None,
                cost_micros=money.cost_micros if is_money_defined else None,
                roas=_measure_roas(money, sums.users) if is_money_defined else Estimate(),
                cumulative_revenue_per_user=(
                    revenue_so_far / sums.users if is_money_defined and sums.users else None
                ),
                is_complete=end < today,
            )
        )
    return Cohort(cohort_day=sums.cohort_day, users=sums.users, currency_code=currency, periods=points)


def _share(users: int, all_users: int) -> Estimate:
    """Each user counts once: Wilson's interval."""
    return Estimate(
        value=users / all_users if all_users else None, interval=estimate_wilson_interval(users, all_users)
    )


def _measure_roas(money: CohortMoney, users: int) -> Estimate:
    moments = RatioMoments(
        users=users,
        y=money.revenue_micros,
        x=money.cost_micros,
        yy=money.revenue_revenue,
        xy=money.revenue_cost,
        xx=money.cost_cost,
        carriers=money.paying_users,
        yyy=money.revenue_revenue_revenue,
    )
    return Estimate(value=moments.ratio, interval=estimate_ratio_interval(moments))
