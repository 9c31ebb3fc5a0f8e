"""The metrics that rules watch: their value on some days, and its interval by what the life tells of users.

Nobody adds up the users of a window every minute. Their spread is that of the campaign's life, whose sums of
squares over users are kept (`design_effect`). Where users do in a window as in the rest of their life, they
repeat less in it, and an interval is rather too wide; in a window of other users, who repeat more (a week of
promotion in a quiet life), it is too narrow. A sum, such as conversions, is taken as compound Poisson: users
come by chance, each with an amount of their own. Its variance is the mean square over the mean of the users'
amounts times the sum, so the sum over that dispersion is nearly Poisson and has Garwood's interval ("Fiducial
limits for the Poisson distribution", Biometrika 28, 1936), continued to fractions by the gamma function.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from scipy.special import gammaincinv

from services.analytics.domain.design_effect import (
    estimate_window_rate_interval,
    estimate_window_ratio_interval,
)
from services.analytics.domain.intervals import ConfidenceInterval, RatioMoments
from services.analytics.domain.metrics import Counts, divide, lacks_views

DEFAULT_RATE_VOLUME = 100


@dataclass(frozen=True, kw_only=True)
class AlertCounts:
    """What was counted of some days; imported costs are in cost."""

    impressions: int = 0
    views: int = 0
    clicks: int = 0
    conversions: int = 0
    revenue_micros: int = 0
    cost_micros: int = 0
    notification_deliveries: int = 0
    notification_opens: int = 0
    unsubscribes: int = 0


@dataclass(frozen=True, kw_only=True)
class Life:
    """Everything a campaign ever did, or all campaigns: counts, users, and sums of products over users.

    `imported_cost_micros` is the part of the cost that is no user's.
    `products` has them by the names of both factors, such as `views_conversions`. Of a portfolio, each user
    counts once, with the sums over all campaigns; before a job has added those up, it is empty, and nothing
    has an interval.
    """

    users: int = 0
    paying_users: int = 0
    notified_users: int = 0
    imported_cost_micros: int = 0
    counts: AlertCounts = field(default_factory=AlertCounts)
    products: Mapping[str, int] = field(default_factory=dict)


Measure = Callable[[AlertCounts], float | None]
Estimate = Callable[[AlertCounts, Life, float], ConfidenceInterval | None]
DropBasis = Literal["days", "hours", "closed_days"]


@dataclass(frozen=True, kw_only=True)
class AlertMetric:
    """A metric that rules watch.

    Args:
        name: as callers know it.
        measure: its value, micros where `is_money`; None where it is undefined.
        estimate: its interval on a window at a confidence level; None where it has none.
        volume: the count that a rule's minimum volume is of.
        is_money: whether its value is money.
        mixes_money: whether currencies must not be mixed in it.
        has_interval: whether it has an interval at all.
        is_sum: whether it is a sum, whose bound is not a matter of chance but whose drop is.
        drop_basis: what a drop compares: days up to now, of what does not depend on their length; whole
            hours up to now, with as many before; or days that are over.
    """

    name: str
    measure: Measure
    estimate: Estimate
    volume: str = "conversions"
    is_money: bool = False
    mixes_money: bool = False
    has_interval: bool = True
    is_sum: bool = False
    drop_basis: DropBasis = "days"

    @property
    def is_rate(self) -> bool:
        """Whether it is a share of its volume."""
        return self.volume != "conversions"

    def volume_of(self, counts: AlertCounts) -> int:
        """Return what a minimum volume is compared with."""
        return int(getattr(counts, self.volume))


def estimate_total_interval(
    total: int, *, life_total: int, life_squares: int, confidence_level: float
) -> ConfidenceInterval | None:
    """Return the interval of the mean that a sum over users who come by chance has.

    None for a negative sum, or where the life has none.
    """
    if total < 0 or life_total <= 0:
        return None
    dispersion = life_squares / life_total
    count, tail = total / dispersion, (1 - confidence_level) / 2
    lower = float(gammaincinv(count, tail)) if count else 0.0
    return ConfidenceInterval(
        lower=lower * dispersion, upper=float(gammaincinv(count + 1, 1 - tail)) * dispersion
    )


def _no_interval(_counts: AlertCounts, _life: Life, _level: float) -> None:
    return None


def _total(name: str, count: str, squares: str, *, is_money: bool = False) -> AlertMetric:
    def estimate(counts: AlertCounts, life: Life, level: float) -> ConfidenceInterval | None:
        return estimate_total_interval(
            getattr(counts, count),
            life_total=getattr(life.counts, count),
            life_squares=life.products.get(squares, 0),
            confidence_level=level,
        )

    return AlertMetric(
        name=name,
        measure=lambda counts: float(getattr(counts, count)),
        estimate=estimate,
        is_money=is_money,
        mixes_money=is_money,
        is_sum=True,
        drop_basis="hours",
    )


def _plain_total(name: str, measure: Measure, *, is_money: bool) -> AlertMetric:
    return AlertMetric(
        name=name,
        measure=measure,
        estimate=_no_interval,
        is_money=is_money,
        mixes_money=is_money,
        has_interval=False,
        is_sum=True,
        drop_basis="closed_days",
    )


def _rate(name: str, y: str, x: str, *, products: tuple[str, str, str], users: str = "users") -> AlertMetric:
    def estimate(counts: AlertCounts, life: Life, level: float) -> ConfidenceInterval | None:
        moments = _moments(life, y, x, products, users=getattr(life, users))
        return estimate_window_rate_interval(
            moments, y=getattr(counts, y), x=getattr(counts, x), confidence_level=level
        )

    def measure(counts: AlertCounts) -> float | None:
        if y == "views" and lacks_views(
            Counts(views=counts.views, clicks=counts.clicks, conversions=counts.conversions)
        ):
            return None
        return divide(getattr(counts, y), getattr(counts, x))

    return AlertMetric(
        name=name,
        measure=measure,
        estimate=estimate,
        volume=x,
    )


def _money_ratio(
    name: str, y: str, x: str, *, products: tuple[str, str, str], is_money: bool, by_payers: bool = True
) -> AlertMetric:
    def estimate(counts: AlertCounts, life: Life, level: float) -> ConfidenceInterval | None:
        moments = _moments(
            life, y, x, products, users=life.users, carriers=life.paying_users if by_payers else None
        )
        numerator, denominator = getattr(counts, y), getattr(counts, x)
        share = divide(counts.conversions, life.counts.conversions)
        if numerator == 0 and denominator > 0:
            none = estimate_total_interval(
                0, life_total=moments.y, life_squares=moments.yy, confidence_level=level
            )
            return none and ConfidenceInterval(lower=0.0, upper=none.upper / denominator)
        if share is None:
            return None
        return estimate_window_ratio_interval(
            moments, y=numerator, x=denominator, volume_share=share, confidence_level=level
        )

    return AlertMetric(
        name=name,
        measure=lambda counts: divide(getattr(counts, y), getattr(counts, x)),
        estimate=estimate,
        is_money=is_money,
        mixes_money=True,
    )


def _moments(
    life: Life, y: str, x: str, products: tuple[str, str, str], *, users: int, carriers: int | None = None
) -> RatioMoments:
    yy, xy, xx = (life.products.get(name, 0) for name in products)
    return RatioMoments(
        users=users,
        y=getattr(life.counts, y),
        x=getattr(life.counts, x),
        yy=yy,
        xy=xy,
        xx=xx,
        carriers=carriers,
        x_known=life.imported_cost_micros if x == "cost_micros" else 0,
    )


def _of_roas(name: str, turn: Callable[[float], float], denominator: str) -> AlertMetric:
    """Return a metric that rises with ROAS alone, so that its interval is that of ROAS, turned."""

    def measure(counts: AlertCounts) -> float | None:
        return divide(counts.revenue_micros - counts.cost_micros, getattr(counts, denominator))

    def estimate(counts: AlertCounts, life: Life, level: float) -> ConfidenceInterval | None:
        interval = _ROAS.estimate(counts, life, level)
        return interval and ConfidenceInterval(lower=turn(interval.lower), upper=turn(interval.upper))

    return AlertMetric(name=name, measure=measure, estimate=estimate, mixes_money=True)


_ROAS = _money_ratio(
    "roas",
    "revenue_micros",
    "cost_micros",
    products=("revenue_revenue", "revenue_cost", "cost_cost"),
    is_money=False,
)

METRICS: Mapping[str, AlertMetric] = {
    metric.name: metric
    for metric in (
        _total("impressions", "impressions", "impressions_impressions"),
        _total("views", "views", "views_views"),
        _total("clicks", "clicks", "clicks_clicks"),
        _total("conversions", "conversions", "conversions_conversions"),
        _total("revenue", "revenue_micros", "revenue_revenue", is_money=True),
        _plain_total("cost", lambda counts: float(counts.cost_micros), is_money=True),
        _plain_total(
            "profit", lambda counts: float(counts.revenue_micros - counts.cost_micros), is_money=True
        ),
        _plain_total("unsubscribes", lambda counts: float(counts.unsubscribes), is_money=False),
        _rate(
            "view_rate",
            "views",
            "impressions",
            products=("views_views", "impressions_views", "impressions_impressions"),
        ),
        _rate(
            "ctr",
            "clicks",
            "impressions",
            products=("clicks_clicks", "impressions_clicks", "impressions_impressions"),
        ),
        _rate(
            "conversion_rate",
            "conversions",
            "views",
            products=("conversions_conversions", "views_conversions", "views_views"),
        ),
        _rate(
            "notification_open_rate",
            "notification_opens",
            "notification_deliveries",
            products=("opens_opens", "deliveries_opens", "deliveries_deliveries"),
            users="notified_users",
        ),
        _money_ratio(
            "revenue_per_impression",
            "revenue_micros",
            "impressions",
            products=("revenue_revenue", "impressions_revenue", "impressions_impressions"),
            is_money=True,
        ),
        _money_ratio(
            "cost_per_conversion",
            "cost_micros",
            "conversions",
            products=("cost_cost", "conversions_cost", "conversions_conversions"),
            is_money=True,
            by_payers=False,
        ),
        _ROAS,
        _of_roas("roi", lambda roas: roas - 1, "cost_micros"),
        _of_roas("profit_margin", lambda roas: 1 - 1 / roas, "revenue_micros"),
    )
}
"""Every metric that a rule may watch, by name."""
