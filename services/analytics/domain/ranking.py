"""Which campaigns are best by a metric, among those with enough volume that luck does not win."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from services.analytics.domain.design_effect import (
    estimate_window_rate_interval,
    estimate_window_ratio_interval,
)
from services.analytics.domain.intervals import (
    ConfidenceInterval,
    RatioMoments,
    estimate_wilson_interval,
)
from services.analytics.domain.metrics import CONFIDENCE_LEVEL, Counts, DateRange, divide, lacks_views
from services.common.errors import invalid_field

MINIMUM_TRIALS = 100
"""What a rate is ranked from by default: a share of 100 trials is known to about ten points either way."""
MINIMUM_CONVERSIONS = 20
"""What a ratio of money is ranked from by default."""
DEFAULT_METRIC = "roas"
DEFAULT_LIMIT, MAXIMUM_LIMIT = 10, 1000
MAXIMUM_VOLUME = 2**63 - 1

Method = Literal["", "design_effect", "wilson"]


@dataclass(frozen=True, kw_only=True)
class CampaignWindow:
    """What a campaign did in some days, and what its life says about users.

    `life` are the sums over users behind the ratio in question (None: of none), `life_conversions` the
    conversions of the life. Users of the window are counted only where they are asked for.
    """

    campaign_id: str
    campaign_name: str | None
    currency_code: str | None
    counts: Counts
    reached_users: int = 0
    converting_users: int = 0
    life: RatioMoments | None = None
    life_conversions: int = 0


@dataclass(frozen=True, kw_only=True)
class RankingMetric:
    """What campaigns are ranked by.

    Args:
        name: as callers know it.
        measure: its value, micros where `is_money`; None where it is undefined.
        volume: what a campaign needs `minimum_volume` of; empty for sums, which need none.
        is_money: whether values of two currencies cannot be compared.
        estimate: its interval; None for sums.
        method: how the interval is made.
    """

    name: str
    measure: Callable[[CampaignWindow], float | None]
    volume: str = ""
    minimum_volume: int = 0
    is_money: bool = False
    estimate: Callable[[CampaignWindow], ConfidenceInterval | None] | None = None
    method: Method = ""


@dataclass(frozen=True, kw_only=True)
class RankedCampaign:
    """A campaign in its place; the value is in micros where the metric is money."""

    rank: int
    window: CampaignWindow
    value: float
    interval: ConfidenceInterval | None


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Everything ListTopCampaigns says."""

    metric: RankingMetric
    date_range: DateRange
    minimum_volume: int
    campaigns: Sequence[RankedCampaign]


def _rate(name: str, numerator: str, denominator: str) -> RankingMetric:
    def measure(window: CampaignWindow) -> float | None:
        if numerator == "views" and lacks_views(window.counts):
            return None
        return divide(getattr(window.counts, numerator), getattr(window.counts, denominator))

    def estimate(window: CampaignWindow) -> ConfidenceInterval | None:
        if window.life is None:
            return None
        y, x = getattr(window.counts, numerator), getattr(window.counts, denominator)
        return estimate_window_rate_interval(window.life, y=y, x=x, confidence_level=CONFIDENCE_LEVEL)

    return RankingMetric(
        name=name,
        measure=measure,
        volume=denominator,
        minimum_volume=MINIMUM_TRIALS,
        estimate=estimate,
        method="design_effect",
    )


def _estimate_ratio(window: CampaignWindow, numerator: str, denominator: str) -> ConfidenceInterval | None:
    share = divide(window.counts.conversions, window.life_conversions)
    if window.life is None or share is None:
        return None
    y, x = getattr(window.counts, numerator), getattr(window.counts, denominator)
    return estimate_window_ratio_interval(
        window.life, y=y, x=x, volume_share=share, confidence_level=CONFIDENCE_LEVEL
    )


def _money_ratio(name: str, numerator: str, denominator: str, *, is_money: bool = True) -> RankingMetric:
    return RankingMetric(
        name=name,
        measure=lambda window: divide(getattr(window.counts, numerator), getattr(window.counts, denominator)),
        volume="conversions",
        minimum_volume=MINIMUM_CONVERSIONS,
        is_money=is_money,
        estimate=lambda window: _estimate_ratio(window, numerator, denominator),
        method="design_effect",
    )


def _estimate_cost_per_conversion(window: CampaignWindow) -> ConfidenceInterval | None:
    """Return the inverse of the interval of conversions per cost, of which imports are a known part."""
    interval = _estimate_ratio(window, "conversions", "cost_micros")
    if interval is None or interval.lower <= 0:
        return None
    return ConfidenceInterval(lower=1 / interval.upper, upper=1 / interval.lower)


def _of_roas(
    name: str,
    measure: Callable[[CampaignWindow], float | None],
    transform: Callable[[float], float | None],
) -> RankingMetric:
    """Return a metric that rises with the ROAS, so that its interval is the ROAS' own, transformed.

    Where an end of the ROAS has no such value, there is no interval: a margin falls without bound as the ROAS
    nears 0.
    """

    def estimate(window: CampaignWindow) -> ConfidenceInterval | None:
        interval = _estimate_ratio(window, "revenue_micros", "cost_micros")
        if interval is None:
            return None
        lower, upper = transform(interval.lower), transform(interval.upper)
        return None if lower is None or upper is None else ConfidenceInterval(lower=lower, upper=upper)

    return RankingMetric(
        name=name,
        measure=measure,
        volume="conversions",
        minimum_volume=MINIMUM_CONVERSIONS,
        estimate=estimate,
        method="design_effect",
    )


def _sum(name: str, measure: Callable[[Counts], int], *, is_money: bool = False) -> RankingMetric:
    return RankingMetric(name=name, measure=lambda window: measure(window.counts), is_money=is_money)


def _profit(counts: Counts) -> int:
    return counts.revenue_micros - counts.cost_micros


def _measure_margin(window: CampaignWindow) -> float | None:
    """Return profit / revenue; None where refunds left no revenue, of which a margin would say nothing."""
    revenue = window.counts.revenue_micros
    return divide(_profit(window.counts), revenue) if revenue > 0 else None


_METRICS = (
    _money_ratio("roas", "revenue_micros", "cost_micros", is_money=False),
    _of_roas("roi", lambda w: divide(_profit(w.counts), w.counts.cost_micros), lambda roas: roas - 1),
    _of_roas("profit_margin", _measure_margin, lambda roas: 1 - 1 / roas if roas else None),
    _money_ratio("revenue_per_impression", "revenue_micros", "impressions"),
    RankingMetric(
        name="cost_per_conversion",
        measure=lambda window: divide(window.counts.cost_micros, window.counts.conversions),
        volume="conversions",
        minimum_volume=MINIMUM_CONVERSIONS,
        is_money=True,
        estimate=_estimate_cost_per_conversion,
        method="design_effect",
    ),
    _rate("conversion_rate", "conversions", "views"),
    _rate("ctr", "clicks", "impressions"),
    _rate("view_rate", "views", "impressions"),
    RankingMetric(
        name="user_conversion_rate",
        measure=lambda window: divide(window.converting_users, window.reached_users),
        volume="reached_users",
        minimum_volume=MINIMUM_TRIALS,
        estimate=lambda w: estimate_wilson_interval(w.converting_users, w.reached_users, CONFIDENCE_LEVEL),
        method="wilson",
    ),
    _sum("revenue", lambda counts: counts.revenue_micros, is_money=True),
    _sum("profit", _profit, is_money=True),
    _sum("cost", lambda counts: counts.cost_micros, is_money=True),
    _sum("impressions", lambda counts: counts.impressions),
    _sum("views", lambda counts: counts.views),
    _sum("clicks", lambda counts: counts.clicks),
    _sum("conversions", lambda counts: counts.conversions),
)
METRICS: Mapping[str, RankingMetric] = {metric.name: metric for metric in _METRICS}


def parse_metric(text: str) -> RankingMetric:
    """Return the metric of that name, `roas` for the empty one; refused by field otherwise."""
    metric = METRICS.get(text or DEFAULT_METRIC)
    if metric is None:
        raise invalid_field("metric", f"must be one of {', '.join(METRICS)}", "VALUE_UNKNOWN")
    return metric


def settle_limit(limit: int | None) -> int:
    """Return how many campaigns to rank."""
    settled = DEFAULT_LIMIT if limit is None else limit
    if not 1 <= settled <= MAXIMUM_LIMIT:
        raise invalid_field("limit", f"must be from 1 to {MAXIMUM_LIMIT}", "VALUE_OUT_OF_RANGE")
    return settled


def settle_minimum_volume(metric: RankingMetric, minimum: int | None) -> int:
    """Return the volume a campaign needs; sums are their own volume and take none."""
    if minimum is None:
        return metric.minimum_volume
    if minimum < 0:
        raise invalid_field("minimum_volume", "must not be negative", "VALUE_OUT_OF_RANGE")
    if minimum > 0 and not metric.volume:
        raise invalid_field(
            "minimum_volume", f"has no meaning for {metric.name}, which is a sum", "FIELDS_CONFLICT"
        )
    return minimum


def rank_campaigns(
    metric: RankingMetric,
    windows: Sequence[CampaignWindow],
    *,
    date_range: DateRange,
    minimum_volume: int,
) -> Ranking:
    """Return campaigns, given in their order, with places, values and intervals."""
    measured = [(window, value) for window in windows if (value := metric.measure(window)) is not None]
    return Ranking(
        metric=metric,
        date_range=date_range,
        minimum_volume=minimum_volume,
        campaigns=[
            RankedCampaign(
                rank=rank,
                window=window,
                value=value,
                interval=metric.estimate(window) if metric.estimate else None,
            )
            for rank, (window, value) in enumerate(measured, start=1)
        ],
    )
