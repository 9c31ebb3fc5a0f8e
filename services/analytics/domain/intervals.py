"""Confidence intervals of ratios whose unit is the user.

One user's events are not independent, so no interval here counts events. A ratio of two sums over users,
R = sum(y) / sum(x), has by the delta method (linearisation) the variance

    var(R) = n / (n - 1) * sum((y_u - R x_u)^2) / sum(x)^2

over n users (Deng, Knoblich, Lu: "Applying the Delta Method in Metric Analytics", KDD 2018, eq. 3;
Cochran, "Sampling Techniques", 3rd ed. 1977, eq. 6.13 with a negligible sampling fraction). The sums of
squares and products are exact integers, so the residual sum is computed without cancellation.
"""

from dataclasses import dataclass
from math import exp, sqrt

from scipy.special import ndtri, stdtrit

MINIMUM_USERS = 2


@dataclass(frozen=True, kw_only=True)
class ConfidenceInterval:
    """Both ends, finite, lower <= upper."""

    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class RatioMoments:
    """Sums over users of y (numerator) and x (denominator): `yy` is the sum of y squared, and so on.

    `carriers` are the users behind a numerator of money that most users do not touch; None: all of them.
    """

    users: int
    y: int
    x: int
    yy: int
    xy: int
    xx: int
    carriers: int | None = None

    @property
    def ratio(self) -> float | None:
        """sum(y) / sum(x); None where sum(x) is 0."""
        return self.y / self.x if self.x else None


def estimate_relative_variance(moments: RatioMoments) -> float | None:
    """Return var(R) / R^2 by the delta method; None with fewer than two users or without a ratio above 0.

    The residual sum over R^2 sum(x)^2 is (yy x^2 - 2 y x xy + y^2 xx) / (x y)^2, in integers up to the last
    division.
    """
    if moments.users < MINIMUM_USERS or moments.x <= 0 or moments.y <= 0:
        return None
    y, x = moments.y, moments.x
    residual = moments.yy * x * x - 2 * y * x * moments.xy + y * y * moments.xx
    share = residual / (x * x * y * y)
    return max(share, 0.0) * moments.users / (moments.users - 1)


def estimate_ratio_interval(
    moments: RatioMoments, confidence_level: float = 0.95
) -> ConfidenceInterval | None:
    """Return the interval of a ratio that is not negative and has no upper bound, such as a ROAS.

    The delta method on the logarithm, R exp(+-t sqrt(var(R)) / R): sums of money over few buyers are skewed
    to the right, and the symmetric interval covers too little there. Student's t has one degree of freedom
    less than there are users behind the numerator (at least one), because where few users carry it the
    variance is known no better than from them; users count by their share of it, y^2 / yy in all (Kish's
    effective number), because where few large amounts make up most of the money only those tell. None where
    the ratio is undefined or 0, or with fewer than two users behind it.

    What 95 % covered in simulations of a ROAS with log-normal amounts: 93 to 95 % with 10 to 20 paying users
    at sigma 0.8, 90 to 93 % at sigma 1, and 87 % with 35 at sigma 1.5, where the rare large amounts have
    mostly not been seen yet.
    """
    variance = estimate_relative_variance(moments)
    ratio = moments.ratio
    carriers = moments.users if moments.carriers is None else moments.carriers
    if variance is None or ratio is None or carriers < MINIMUM_USERS:
        return None
    effective = moments.y * moments.y / moments.yy
    return log_interval(ratio, variance, min(carriers, effective), confidence_level)


def log_interval(
    ratio: float, relative_variance: float, effective_users: float, confidence_level: float
) -> ConfidenceInterval:
    """Return the interval on the logarithm of a ratio above 0, by Student's t of the users behind it."""
    quantile = float(stdtrit(max(effective_users - 1.0, 1.0), (1 + confidence_level) / 2))
    # Beyond e^300 an end says nothing; it must stay finite.
    width = min(quantile * sqrt(relative_variance), 300.0)
    return ConfidenceInterval(lower=ratio * exp(-width), upper=ratio * exp(width))


def estimate_rate_interval(
    moments: RatioMoments, confidence_level: float = 0.95
) -> ConfidenceInterval | None:
    """Return the interval of a rate that is a share of its denominator, such as views of impressions.

    Wilson's interval at the effective sample size R (1 - R) / var(R) with var(R) by the delta method (Kish's
    design effect; Korn and Graubard, "Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data", Survey Methodology 24, 1998, with their factor
    (z / t_{n-1})^2 on the effective size). Where all or nothing happened the variance is not observable and
    each user counts as one trial. A rate above 1 (events may be lost on the way) falls back to
    `estimate_ratio_interval`. None where the rate is undefined or with fewer than two users.
    """
    ratio = moments.ratio
    if ratio is None or moments.users < MINIMUM_USERS:
        return None
    if ratio > 1:
        return estimate_ratio_interval(moments, confidence_level)
    effective = float(moments.users)
    if 0 < ratio < 1:
        variance = (estimate_relative_variance(moments) or 0.0) * ratio * ratio
        # Fewer collisions than chance is chance: no event is worth more than one independent trial.
        effective = min(ratio * (1 - ratio) / variance, float(moments.x)) if variance else float(moments.x)
    return score_interval(ratio, effective, moments.users, confidence_level)


def score_interval(
    share: float, effective_trials: float, users: float, confidence_level: float
) -> ConfidenceInterval:
    """Return Wilson's interval of a share at an effective number of trials that `users` are behind."""
    normal = float(ndtri((1 + confidence_level) / 2))
    student = float(stdtrit(max(users - 1.0, 1.0), (1 + confidence_level) / 2))
    return _wilson(share, effective_trials * (normal / student) ** 2, normal)


def estimate_wilson_interval(
    successes: int, trials: int, confidence_level: float = 0.95
) -> ConfidenceInterval | None:
    """Return Wilson's score interval, for shares in which each user counts once; None without trials.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if trials <= 0:
        return None
    return _wilson(min(successes / trials, 1.0), trials, float(ndtri((1 + confidence_level) / 2)))


def _wilson(share: float, trials: float, normal: float) -> ConfidenceInterval:
    z2 = normal * normal
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = normal / (1 + z2 / trials) * sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    return ConfidenceInterval(
        lower=max(centre - half, 0.0) if share > 0 else 0.0,
        upper=min(centre + half, 1.0) if share < 1 else 1.0,
    )
