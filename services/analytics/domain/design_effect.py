"""Intervals of a window, whose users nobody added up, by what the whole life tells about users.

The sums over users that make an exact interval are kept for a campaign's life. A window has the counts of its
events alone, and counting events as if they were independent covers too little. So the life lends its design
effect, the variance of a ratio with the user as the unit over what independent events would give (Kish,
"Survey Sampling", 1965, section 8.2), and the window's own counts give the size:

- a rate: effective trials = trials of the window x effective trials of the life / trials of the life;
- a ratio of money: relative variance = that of the life x conversions of the life / those of the window.

Where users do in a window as in the rest of their life, they repeat less in it, and the interval is rather
too wide. Where they repeat more in it than elsewhere, it is too narrow: for 150 users with 20 views each, in
a life of 3,000 others with one view each, 95 % covered 87 %; for 100 users among 10,000 others 71 %. So who
can afford it adds up the window's own users. Where the window is the whole life, the interval is exact.
"""

from math import sqrt

from services.analytics.domain.intervals import (
    MINIMUM_EFFECTIVE_PAYERS,
    MINIMUM_USERS,
    ConfidenceInterval,
    RatioMoments,
    estimate_effective_trials,
    estimate_rate_interval,
    estimate_ratio_interval,
    estimate_relative_variance,
    estimate_skewness,
    log_interval,
    score_interval,
    skewed_interval,
)


def estimate_window_rate_interval(
    life: RatioMoments, *, y: int, x: int, confidence_level: float = 0.95
) -> ConfidenceInterval | None:
    """Return the interval of the rate y / x of a window of a life.

    None where the rate is undefined, outside [0, 1], or the life has fewer than two users.
    """
    if x <= 0 or not 0 <= y <= x or life.x <= 0 or life.users < MINIMUM_USERS:
        return None
    if (y, x) == (life.y, life.x):
        return estimate_rate_interval(life, confidence_level)
    share = min(x / life.x, 1.0)
    effective = x * min(_effective_trials(life) / life.x, 1.0)
    return score_interval(y / x, effective, life.users * share, confidence_level)


def _effective_trials(life: RatioMoments) -> float:
    """As of a rate; where a life's rate is above 1, each user is one trial."""
    return estimate_effective_trials(life) if 0 <= life.y <= life.x else float(life.users)


def estimate_window_ratio_interval(
    life: RatioMoments, *, y: int, x: int, volume_share: float, confidence_level: float = 0.95
) -> ConfidenceInterval | None:
    """Return the interval of the ratio y / x of a window that has `volume_share` of the life's conversions.

    None where the window's ratio is not above 0, the life's variance or the share is undefined, or the
    window's part of the life's effective payers (Kish's y^2 / yy) is below two.
    """
    if (y, x) == (life.y, life.x) and life.yy > 0:
        return estimate_ratio_interval(life, confidence_level)
    variance = estimate_relative_variance(life)
    carriers = life.users if life.carriers is None else life.carriers
    if not variance or x <= 0 or y <= 0 or volume_share <= 0 or carriers < MINIMUM_USERS:
        return None
    share = min(volume_share, 1.0)
    # Where all of y is imported cost, no user carries it, and the users behind x are who tells.
    effective = share * (min(carriers, life.y * life.y / life.yy) if life.yy > 0 else carriers)
    if effective < MINIMUM_EFFECTIVE_PAYERS:
        return None
    if life.yyy is None:
        return log_interval(y / x, variance / share, effective, confidence_level)
    # Over fewer users the same skewness weighs more: it is per root of the users.
    interval = skewed_interval(
        y / x,
        y / x * sqrt(variance / share),
        estimate_skewness(life) / sqrt(share),
        effective,
        confidence_level,
    )
    return ConfidenceInterval(lower=max(interval.lower, 0.0), upper=interval.upper)
