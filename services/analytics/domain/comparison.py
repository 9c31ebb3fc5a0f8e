"""Campaigns side by side: differences from the first, as they ran.

The difference of two ratios, R1 - R0, whose users may be the same people. With the residuals
e_u = y_u - R x_u about their mean, both ratios are linear in their users (Deng, Knoblich, Lu, KDD 2018), so

    cov(R1, R0) = sum over users of both (e1_u - mean e1) (e0_u - mean e0) / (sum(x1) sum(x0))

exactly, and the interval is the MOVER's (G. Y. Zou, "Toward using confidence intervals to compare
correlations", Psychological Methods 12 (2007), eq. 13 for dependent estimates; for two independent shares it
is Newcombe's method 10): it puts together the skewed intervals of both campaigns instead of a symmetric one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt
from typing import Literal, get_args

from scipy.special import stdtr, stdtrit

from services.analytics.domain.intervals import (
    MINIMUM_USERS,
    ConfidenceInterval,
    RatioMoments,
    estimate_relative_variance,
)
from services.analytics.domain.metrics import (
    CONFIDENCE_LEVEL,
    RATES,
    CampaignMetrics,
    CampaignTotals,
    Estimate,
    moments_of,
)

ComparedMetric = Literal[
    "view_rate", "ctr", "conversion_rate", "user_conversion_rate", "revenue_per_impression", "roas"
]
COMPARED_METRICS: tuple[ComparedMetric, ...] = get_args(ComparedMetric)
ADJUSTMENT_METHOD = "holm"


@dataclass(frozen=True, kw_only=True)
class SharedSums:
    """Over the users of two campaigns, the first's (1) and the second's (0): sums and products of y and x."""

    users: int = 0
    y1: int = 0
    x1: int = 0
    y0: int = 0
    x0: int = 0
    y1_y0: int = 0
    y1_x0: int = 0
    x1_y0: int = 0
    x1_x0: int = 0


@dataclass(frozen=True, kw_only=True)
class ComparedCampaign:
    """A campaign with its metrics, and with the shared sums with the first campaign by metric."""

    campaign_id: str
    currency_code: str | None
    totals: CampaignTotals
    metrics: CampaignMetrics
    shared: dict[ComparedMetric, SharedSums]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How one campaign differs from the baseline in one metric; money is in micros.

    What is None is undefined, and `reason` says why.
    """

    campaign_id: str
    baseline_campaign_id: str
    metric: ComparedMetric
    difference: float | None = None
    interval: ConfidenceInterval | None = None
    p_value: float | None = None
    adjusted_p_value: float | None = None
    reason: str = ""


def compare_campaigns(
    campaigns: Sequence[ComparedCampaign],
    metrics: Sequence[ComparedMetric],
    confidence_level: float = CONFIDENCE_LEVEL,
) -> Sequence[Difference]:
    """Return each other campaign against the first, by campaign and then by metric.

    p-values are adjusted for all comparisons of the answer that have one (S. Holm, "A simple sequentially
    rejective multiple test procedure", Scand. J. Statist. 6 (1979)).
    """
    baseline, *others = campaigns
    differences = [
        _compare(other, baseline, metric, confidence_level) for other in others for metric in metrics
    ]
    given = [difference.p_value for difference in differences if difference.p_value is not None]
    adjusted = iter(adjust_p_values(given))
    return [
        difference if difference.p_value is None else replace(difference, adjusted_p_value=next(adjusted))
        for difference in differences
    ]


def adjust_p_values(p_values: Sequence[float]) -> Sequence[float]:
    """Return Holm's adjusted p-values, in the order given."""
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min((len(p_values) - rank) * p_values[place], 1.0))
        adjusted[place] = least
    return adjusted


def estimate_covariance(one: RatioMoments, other: RatioMoments, shared: SharedSums) -> float:
    """Return the covariance of two ratios by the users they share; 0 where one is undefined."""
    if one.ratio is None or other.ratio is None or not shared.users:
        return 0.0
    r1, r0, s = one.ratio, other.ratio, shared
    # Without a known part of x, residuals add up to 0.
    mean1, mean0 = r1 * one.x_known / one.users, r0 * other.x_known / other.users
    products = s.y1_y0 - r0 * s.y1_x0 - r1 * s.x1_y0 + r1 * r0 * s.x1_x0
    centred = products - mean1 * (s.y0 - r0 * s.x0) - mean0 * (s.y1 - r1 * s.x1) + s.users * mean1 * mean0
    return centred / (one.x * other.x)


def estimate_difference_interval(
    one: Estimate, other: Estimate, correlation: float
) -> ConfidenceInterval | None:
    """Return the MOVER's interval of one less the other; None where one of them has none."""
    if one.interval is None or other.interval is None or one.value is None or other.value is None:
        return None
    below = _distance(one.value - one.interval.lower, other.interval.upper - other.value, correlation)
    above = _distance(one.interval.upper - one.value, other.value - other.interval.lower, correlation)
    difference = one.value - other.value
    return ConfidenceInterval(lower=difference - below, upper=difference + above)


def _distance(one: float, other: float, correlation: float) -> float:
    return sqrt(max(one * one + other * other - 2 * correlation * one * other, 0.0))


def moments_of_metric(totals: CampaignTotals, metric: ComparedMetric) -> RatioMoments:
    """Return the sums over users behind a metric; of user_conversion_rate each user counts once."""
    if metric != "user_conversion_rate":
        return moments_of(totals, metric)
    y, x = totals.moments.converting_users, totals.moments.reached_users
    return RatioMoments(users=x, y=y, x=x, yy=y, xy=y, xx=x)


def _compare(
    other: ComparedCampaign, baseline: ComparedCampaign, metric: ComparedMetric, confidence_level: float
) -> Difference:
    result = Difference(
        campaign_id=other.campaign_id, baseline_campaign_id=baseline.campaign_id, metric=metric
    )
    if metric == "revenue_per_impression" and other.currency_code != baseline.currency_code:
        return replace(result, reason="money of two currencies is not compared")
    one: Estimate = getattr(other.metrics, metric)
    zero: Estimate = getattr(baseline.metrics, metric)
    for campaign, estimate in ((other, one), (baseline, zero)):
        if estimate.value is None:
            return replace(result, reason=f"{metric} of '{campaign.campaign_id}' is undefined")
    assert one.value is not None
    assert zero.value is not None
    result = replace(result, difference=one.value - zero.value)
    moments1, moments0 = moments_of_metric(other.totals, metric), moments_of_metric(baseline.totals, metric)
    correlation = _correlate(moments1, moments0, other.shared.get(metric, SharedSums()))
    interval = estimate_difference_interval(one, zero, correlation)
    if interval is None:
        return replace(result, reason="too few users, or effective payers, for an interval, or all are alike")
    freedom = min(_degrees_of_freedom(moments1, metric), _degrees_of_freedom(moments0, metric))
    return replace(
        result,
        interval=interval,
        p_value=_p_value(one.value - zero.value, interval, freedom, confidence_level),
    )


def _correlate(one: RatioMoments, other: RatioMoments, shared: SharedSums) -> float:
    variance1, variance0 = estimate_relative_variance(one), estimate_relative_variance(other)
    if not variance1 or not variance0 or one.ratio is None or other.ratio is None:
        return 0.0
    spread = sqrt(variance1 * variance0) * one.ratio * other.ratio
    return max(-1.0, min(1.0, estimate_covariance(one, other, shared) / spread))


def _degrees_of_freedom(moments: RatioMoments, metric: ComparedMetric) -> float:
    if metric in RATES or metric == "user_conversion_rate":
        return max(moments.users - 1.0, 1.0)
    carriers = moments.users if moments.carriers is None else moments.carriers
    effective = moments.y * moments.y / moments.yy if moments.yy else float(MINIMUM_USERS)
    return max(min(carriers, effective) - 1.0, 1.0)


def _p_value(
    difference: float, interval: ConfidenceInterval, freedom: float, confidence_level: float
) -> float:
    """Return the two-sided p-value, below 1 - `confidence_level` just where the interval is off 0.

    Student's t with the distance from the difference to the interval's end towards 0 as the quantile's worth,
    so that the test is as skewed as the interval.
    """
    reach = difference - interval.lower if difference > 0 else interval.upper - difference
    quantile = float(stdtrit(freedom, (1 + confidence_level) / 2))
    statistic = quantile * abs(difference) / reach if reach > 0 else (inf if difference else 0.0)
    return min(2 * float(stdtr(freedom, -statistic)), 1.0)
