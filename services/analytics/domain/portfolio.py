"""What all campaigns did together; money is never added across currencies."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

from services.analytics.domain.metrics import (
    CampaignTotals,
    Counts,
    DateRange,
    Estimate,
    RatioName,
    Signals,
    divide,
    estimate_by_design_effect,
)

NANOS_PER_UNIT = 1_000_000_000
ALL_CURRENCIES = ""
NO_USERS: Mapping[str, CampaignTotals] = {}
"""Before anybody added up the users of the portfolio: its rates have no intervals."""


@dataclass(frozen=True, kw_only=True)
class PortfolioDay:
    """What was counted of one currency: campaigns, and plain purchases beside them."""

    currency_code: str
    counts: Counts
    purchases: int
    purchase_revenue_micros: int
    notification_deliveries: int = 0
    notification_opens: int = 0
    geofence_entries: int = 0
    unsubscribes: int = 0


@dataclass(frozen=True, kw_only=True)
class CampaignCount:
    """How many campaigns of a currency have an event or a cost, how many cost, and the sum of their ROAS.

    The sum is in billionths, each ROAS rounded to one: so it is the same however it was added up.
    """

    currency_code: str
    campaigns: int
    campaigns_with_cost: int
    roas_nanos: int


@dataclass(frozen=True, kw_only=True)
class PortfolioRates:
    """The rates of sums, with intervals whose unit is the user; None where undefined."""

    view_rate: Estimate
    ctr: Estimate
    conversion_rate: Estimate
    notification_open_rate: Estimate
    roas: Estimate


@dataclass(frozen=True, kw_only=True)
class PortfolioTotals:
    """Sums; `currency_code` is None where they span several or none, and all money is then meaningless."""

    currency_code: str | None
    is_money_defined: bool
    counts: Counts
    purchases: int
    purchase_revenue_micros: int
    notification_deliveries: int
    notification_opens: int
    geofence_entries: int
    unsubscribes: int
    rates: PortfolioRates


@dataclass(frozen=True, kw_only=True)
class CurrencyPortfolio:
    """The portfolio in one currency."""

    currency_code: str
    total_campaigns: int
    totals: PortfolioTotals
    average_roas: float | None


@dataclass(frozen=True, kw_only=True)
class PortfolioChange:
    """A range against the one before; each change is now / before - 1, None where that is undefined."""

    date_range: DateRange
    totals: PortfolioTotals
    impressions: float | None
    views: float | None
    clicks: float | None
    conversions: float | None
    revenue: float | None
    cost: float | None
    purchase_revenue: float | None


@dataclass(frozen=True, kw_only=True)
class Portfolio:
    """Everything GetPortfolioPerformance says."""

    date_range: DateRange
    total_campaigns: int
    totals: PortfolioTotals
    average_roas: float | None
    change: PortfolioChange
    currencies: Sequence[CurrencyPortfolio]


def add_portfolio(
    days: Iterable[PortfolioDay], users: Mapping[str, CampaignTotals] = NO_USERS
) -> PortfolioTotals:
    """Return the sums of some days and currencies.

    `users` are the sums over the users of all campaigns together, each user once, by currency and over
    ALL_CURRENCIES: they give the rates their intervals.
    """
    days = list(days)
    currencies = {day.currency_code for day in days if _has_money(day)} or {d.currency_code for d in days}
    currency = currencies.pop() if len(currencies) == 1 else None
    is_money_defined = len({day.currency_code for day in days if _has_money(day)}) <= 1
    counts = reduce(add, (day.counts for day in days), Counts())
    signals = Signals(
        notification_deliveries=sum(day.notification_deliveries for day in days),
        notification_opens=sum(day.notification_opens for day in days),
        geofence_entries=sum(day.geofence_entries for day in days),
        unsubscribes=sum(day.unsubscribes for day in days),
    )
    return PortfolioTotals(
        currency_code=currency,
        is_money_defined=is_money_defined,
        counts=counts,
        purchases=sum(day.purchases for day in days),
        purchase_revenue_micros=sum(day.purchase_revenue_micros for day in days),
        notification_deliveries=signals.notification_deliveries,
        notification_opens=signals.notification_opens,
        geofence_entries=signals.geofence_entries,
        unsubscribes=signals.unsubscribes,
        rates=estimate_portfolio_rates(
            CampaignTotals(counts=counts, signals=signals),
            users.get(currency or ALL_CURRENCIES, CampaignTotals()),
            is_money_defined=is_money_defined,
        ),
    )


def estimate_portfolio_rates(
    window: CampaignTotals, life: CampaignTotals, *, is_money_defined: bool
) -> PortfolioRates:
    """Return the rates of a window of the portfolio by the design effect of its life.

    Users are in many campaigns, so the portfolio's design effect is not that of its campaigns: it is made of
    each user's sums over all of them.
    """

    def estimate(name: RatioName) -> Estimate:
        return estimate_by_design_effect(window, life, name)

    return PortfolioRates(
        view_rate=estimate("view_rate"),
        ctr=estimate("ctr"),
        conversion_rate=estimate("conversion_rate"),
        notification_open_rate=estimate("notification_open_rate"),
        roas=estimate("roas") if is_money_defined else Estimate(),
    )


def _has_money(day: PortfolioDay) -> bool:
    return bool(day.counts.revenue_micros or day.counts.cost_micros or day.purchase_revenue_micros)


def mean_roas(campaigns: Sequence[CampaignCount]) -> float | None:
    """Return the mean of the campaigns' ROAS, each counting once; None without one that has cost."""
    return divide(
        sum(count.roas_nanos for count in campaigns),
        NANOS_PER_UNIT * sum(count.campaigns_with_cost for count in campaigns),
    )


def measure_portfolio(
    *,
    date_range: DateRange,
    days: Sequence[PortfolioDay],
    campaigns: Sequence[CampaignCount],
    range_before: DateRange,
    days_before: Sequence[PortfolioDay],
    users: Mapping[str, CampaignTotals] = NO_USERS,
) -> Portfolio:
    """Return the portfolio of a range, per currency and against the range before.

    Args:
        date_range: the days counted.
        days: what was counted of them, in any number of rows per currency.
        campaigns: the campaigns with an event or a cost in the range, per currency.
        range_before: the days compared with.
        days_before: what was counted of those.
        users: the sums over users, as of `add_portfolio`.
    """
    totals = add_portfolio(days, users)
    codes = sorted({day.currency_code for day in days} | {c.currency_code for c in campaigns})
    return Portfolio(
        date_range=date_range,
        total_campaigns=sum(count.campaigns for count in campaigns),
        totals=totals,
        average_roas=mean_roas(campaigns),
        change=_compare(totals, add_portfolio(days_before, users), range_before),
        currencies=[_measure_currency(code, days, campaigns, users) for code in codes],
    )


def _measure_currency(
    code: str,
    days: Sequence[PortfolioDay],
    campaigns: Sequence[CampaignCount],
    users: Mapping[str, CampaignTotals],
) -> CurrencyPortfolio:
    own = [count for count in campaigns if count.currency_code == code]
    totals = add_portfolio((day for day in days if day.currency_code == code), users)
    return CurrencyPortfolio(
        currency_code=code,
        total_campaigns=sum(count.campaigns for count in own),
        totals=replace(totals, currency_code=code),
        average_roas=mean_roas(own),
    )


def _compare(now: PortfolioTotals, before: PortfolioTotals, range_before: DateRange) -> PortfolioChange:
    money = (
        now.is_money_defined
        and before.is_money_defined
        and (now.currency_code == before.currency_code or None in (now.currency_code, before.currency_code))
    )
    return PortfolioChange(
        date_range=range_before,
        totals=before,
        impressions=_change(now.counts.impressions, before.counts.impressions),
        views=_change(now.counts.views, before.counts.views),
        clicks=_change(now.counts.clicks, before.counts.clicks),
        conversions=_change(now.counts.conversions, before.counts.conversions),
        revenue=_change(now.counts.revenue_micros, before.counts.revenue_micros) if money else None,
        cost=_change(now.counts.cost_micros, before.counts.cost_micros) if money else None,
        purchase_revenue=_change(now.purchase_revenue_micros, before.purchase_revenue_micros)
        if money
        else None,
    )


def _change(now: int, before: int) -> float | None:
    return divide(now - before, before)
