"""Confidence intervals of ratios whose unit is the user.

One user's events are not independent, so no interval here counts events. A ratio of two sums over users,
R = sum(y) / sum(x), has by the delta method (linearisation) the variance

    var(R) = n / (n - 1) * sum((y_u - R x_u)^2) / sum(x)^2

over n users (Deng, Knoblich, Lu: "Applying the Delta Method in Metric Analytics", KDD 2018, eq. 3;
Cochran, "Sampling Techniques", 3rd ed. 1977, eq. 6.13 with a negligible sampling fraction). The sums of
squares and products are exact integers, so the residual sum is computed without cancellation.

What the intervals cover over named settings is held by tests/reference/analytics/test_coverage_*.py.
"""

from dataclasses import dataclass
from math import cbrt, exp, sqrt

from scipy.special import betaincinv, ndtri, stdtrit

MINIMUM_USERS = 2
MINIMUM_EFFECTIVE_PAYERS = 2.0
"""Fewer, and one user makes up nearly all of the money: an interval would be of that user."""
PRIOR_CORRELATION = 0.5
"""What is taken for the correlation of one user's events before any user has told."""
_NEGLIGIBLE_SKEWNESS = 1e-6
"""Below it the correction is below a millionth of a standard error, and the root would cancel."""


@dataclass(frozen=True, kw_only=True)
class ConfidenceInterval:
    """Both ends, finite, lower <= upper."""

    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class RatioMoments:
    """Sums over users of y (numerator) and x (denominator): `yy` is the sum of y squared, and so on.

    `carriers` are the users behind a numerator of money that most users do not touch; None: all of them.
    `yyy` is the sum of y cubed; None where nobody kept it. `x_known` is the part of `x` that is no user's but
    a known constant, such as an imported cost; it is in `x` and not in `xy` and `xx`.
    """

    users: int
    y: int
    x: int
    yy: int
    xy: int
    xx: int
    carriers: int | None = None
    yyy: int | None = None
    x_known: int = 0

    @property
    def ratio(self) -> float | None:
        """sum(y) / sum(x); None where sum(x) is 0."""
        return self.y / self.x if self.x else None


def estimate_relative_variance(moments: RatioMoments) -> float | None:
    """Return var(R) / R^2 by the delta method; None with fewer than two users or without a ratio above 0.

    The residuals y_u - R x_u add up to R x_known, so the sum of their squares is taken about their mean:
    over R^2 sum(x)^2 it is (yy x^2 - 2 y x xy + y^2 xx - y^2 x_known^2 / n) / (x y)^2, in integers up to the
    last division.
    """
    if moments.users < MINIMUM_USERS or moments.x <= 0 or moments.y <= 0:
        return None
    n, y, x = moments.users, moments.y, moments.x
    residual = moments.yy * x * x - 2 * y * x * moments.xy + y * y * moments.xx
    share = (n * residual - (y * moments.x_known) ** 2) / (x * x * y * y)
    return max(share, 0.0) / (n - 1)


def estimate_ratio_interval(
    moments: RatioMoments, confidence_level: float = 0.95
) -> ConfidenceInterval | None:
    """Return the interval of a ratio of money, such as a ROAS; its lower end is not below 0.

    The delta method, corrected for the skewness of what users bring (`skewed_interval`), where the sum of
    cubes is known; else on the logarithm (`log_interval`). Student's t has one degree of freedom less than
    there are users behind the numerator (at least one), because where few users carry it the variance is
    known no better than from them; users count by their share of it, y^2 / yy in all (Kish's effective
    number), because where few large amounts make up most of the money only those tell. None where the ratio
    is undefined or 0, with fewer than two users behind it, by number or by Kish's effective one, or where all
    users are alike: nothing then tells how they vary, and that ten users paid one price is no proof that the
    eleventh will.

    95 % cover at least 93 % of log-normal amounts up to sigma 1, with 200 to 20,000 users; at sigma 1.5 (few
    large amounts make up most of the money) 91.6 % and more. Heavier tails cover less: sigma 2 with 20 payers
    of 200 users 92.3 %, Pareto amounts of index 1.8 (without a variance) 91.5 %. Who was not seen is not
    known: where one user in 1,000 brings 5,000 and the others 5.5 each, 500 users cover 39.7 %. The skewness
    is that of y alone.
    """
    variance = estimate_relative_variance(moments)
    ratio = moments.ratio
    carriers = moments.users if moments.carriers is None else moments.carriers
    if not variance or ratio is None or carriers < MINIMUM_USERS:
        return None
    effective = min(carriers, moments.y * moments.y / moments.yy)
    if effective < MINIMUM_EFFECTIVE_PAYERS:
        return None
    if moments.yyy is None:
        return log_interval(ratio, variance, effective, confidence_level)
    interval = skewed_interval(
        ratio, ratio * sqrt(variance), estimate_skewness(moments), effective, confidence_level
    )
    return ConfidenceInterval(lower=max(interval.lower, 0.0), upper=interval.upper)


def estimate_total_interval(
    moments: RatioMoments, confidence_level: float = 0.95
) -> ConfidenceInterval | None:
    """Return the interval of sum(y) - sum(x), such as a profit, for as many users as there were.

    The variance of the sum over n users is n / (n - 1) * sum((d_u - mean d)^2) with d = y - x; x_known moves
    the interval and does not widen it. The skewness is that of y. The lower end is not below what is lost
    where y comes to nothing: x at the upper end of its own interval by Student's t. None with fewer than two
    users behind y, by number or by Kish's effective one, where all users are alike, or where nobody kept the
    sum of cubes.
    """
    n = moments.users
    carriers = n if moments.carriers is None else moments.carriers
    if n < MINIMUM_USERS or carriers < MINIMUM_USERS or moments.yyy is None or moments.yy <= 0:
        return None
    spent = moments.x - moments.x_known
    squares = n * (moments.yy - 2 * moments.xy + moments.xx) - (moments.y - spent) ** 2
    effective = min(carriers, moments.y * moments.y / moments.yy)
    if squares <= 0 or effective < MINIMUM_EFFECTIVE_PAYERS:
        return None
    interval = skewed_interval(
        float(moments.y - moments.x),
        sqrt(squares / (n - 1)),
        estimate_skewness(moments),
        effective,
        confidence_level,
    )
    student = float(stdtrit(n - 1.0, (1 + confidence_level) / 2))
    most_lost = moments.x + student * sqrt(max(n * moments.xx - spent * spent, 0) / (n - 1))
    return ConfidenceInterval(lower=max(interval.lower, -most_lost), upper=interval.upper)


def estimate_skewness(moments: RatioMoments) -> float:
    """Return the skewness of y over users divided by the root of their number; 0 without sum of cubes."""
    n, y, yy = moments.users, moments.y, moments.yy
    squares = n * yy - y * y
    if moments.yyy is None or squares <= 0:
        return 0.0
    # n^2 sum((y_u - mean)^3) and n sum((y_u - mean)^2), in integers.
    cubes = n * n * moments.yyy - 3 * n * y * yy + 2 * y**3
    return cubes / squares / sqrt(squares) / sqrt(n)


def skewed_interval(
    value: float, standard_error: float, skewness: float, effective_users: float, confidence_level: float
) -> ConfidenceInterval:
    """Return the interval of a mean or a ratio of skewed amounts; `skewness` is per root of the users.

    P. Hall, "On the removal of skewness by transformation", J. R. Statist. Soc. B 54 (1992) 221-228: the
    studentised T is turned by g(T) = T + s T^2 / 3 + s^2 T^3 / 27 + s / 6, which is monotone and nearly
    symmetric, and its quantiles back by g^-1(u) = 3 ((1 + s (u - s / 6))^(1/3) - 1) / s. Compared with other
    intervals for log-normal data by Zhou and Gao, "One-sided confidence intervals for means of positively
    skewed distributions", The American Statistician 54 (2000). Student's t of the users behind the amounts
    instead of the normal quantile, because few of them know the variance badly.
    """
    quantile = float(stdtrit(max(effective_users - 1.0, 1.0), (1 + confidence_level) / 2))
    return ConfidenceInterval(
        lower=value - _remove_skewness(quantile, skewness) * standard_error,
        upper=value - _remove_skewness(-quantile, skewness) * standard_error,
    )


def _remove_skewness(quantile: float, skewness: float) -> float:
    if abs(skewness) < _NEGLIGIBLE_SKEWNESS:
        return quantile
    return 3 / skewness * (cbrt(1 + skewness * (quantile - skewness / 6)) - 1)


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

    Clopper and Pearson's interval at the effective number of trials (`score_interval`). A rate above 1
    (events may be lost on the way) falls back to `estimate_ratio_interval`. None where the rate is undefined
    or with fewer than two users.

    The variance is that of the users seen, so repetition must have one: where users repeat by Pareto of index
    1.2, up to 500 events each, 95 % cover 87.9 % of a rate of 0.05 with 500 users, and 91 to 93 % with 100.
    """
    ratio = moments.ratio
    if ratio is None or ratio < 0 or moments.users < MINIMUM_USERS:
        return None
    if ratio > 1:
        return estimate_ratio_interval(moments, confidence_level)
    return score_interval(ratio, estimate_effective_trials(moments), moments.users, confidence_level)


def estimate_effective_trials(moments: RatioMoments) -> float:
    """Return how many independent trials a rate from 0 to 1 is worth: x / (1 + (m - 1) c).

    m = xx / x is the events of a user as an event meets it, c the correlation of one user's events, from the
    delta method's variance against the binomial one (design effect; Kish, "Survey Sampling", 1965, 8.2). Few
    users who did it (or, of a high rate, did not) show c too small as often as not, and with it the
    interval; so c is drawn towards PRIOR_CORRELATION, with the weight of one user against Kish's effective
    number of theirs, and never down. Where all or nothing happened each user is one trial.
    """
    x, y = moments.x, moments.y
    repeats = moments.xx / x
    if repeats <= 1:
        return float(x)
    if not 0 < y < x:
        return x / repeats
    ratio = y / x
    variance = (estimate_relative_variance(moments) or 0.0) * ratio * ratio
    correlation = max(variance * x / (ratio * (1 - ratio)) - 1, 0.0) / (repeats - 1)
    failures = x - y
    informed = min(
        y * y / moments.yy,
        failures * failures / max(moments.xx - 2 * moments.xy + moments.yy, 1),
    )
    shrunk = (informed * correlation + PRIOR_CORRELATION) / (informed + 1)
    return x / (1 + (repeats - 1) * max(correlation, shrunk))


def score_interval(
    share: float, effective_trials: float, users: float, confidence_level: float
) -> ConfidenceInterval:
    """Return the interval of a share at an effective number of trials that `users` are behind.

    Clopper and Pearson's exact interval at that number times (z / t_{users-1})^2: Korn and Graubard,
    "Confidence intervals for proportions with small expected number of positive counts estimated from survey
    data", Survey Methodology 24 (1998) 193-201 (`method = "beta"` of R's survey::svyciprop).
    """
    tail = (1 - confidence_level) / 2
    student = float(stdtrit(max(users - 1.0, 1.0), 1 - tail))
    trials = effective_trials * (float(ndtri(1 - tail)) / student) ** 2
    successes = share * trials
    failures = trials - successes
    return ConfidenceInterval(
        lower=float(betaincinv(successes, failures + 1, tail)) if share > 0 else 0.0,
        upper=float(betaincinv(successes + 1, failures, 1 - tail)) if share < 1 else 1.0,
    )


def estimate_wilson_interval(
    successes: int, trials: int, confidence_level: float = 0.95
) -> ConfidenceInterval | None:
    """Return Wilson's score interval, for shares in which each user counts once; None without trials.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927). It
    covers 95 % on the average over shares; at a few it covers less (93.2 % of 200 users at a share of 0.02).
    """
    if trials <= 0:
        return None
    share, z = min(successes / trials, 1.0), float(ndtri((1 + confidence_level) / 2))
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return ConfidenceInterval(
        lower=max(centre - half, 0.0) if share > 0 else 0.0,
        upper=min(centre + half, 1.0) if share < 1 else 1.0,
    )
