"""What it costs to be free to look: users beyond those of a fixed horizon, and power at a number of users."""

from functools import lru_cache

import numpy as np
from scipy import optimize, special

from services.abtest.domain.group_sequential import boundaries, crossing_probabilities
from services.abtest.domain.model import DecisionMethod
from services.abtest.domain.proportions import normal_quantile
from services.abtest.domain.sequential import anytime_boundaries

ANYTIME_LOOKS = 28
"""Looks for which the power of a confidence sequence is told: daily ones over four weeks. More add little."""
_LARGEST_DRIFT = 100.0
_SURE_SCORE = 8.0


@lru_cache(maxsize=256)
def look_bounds(
    method: DecisionMethod, *, significance_level: float, comparisons: int = 1, planned_looks: int = 1
) -> tuple[float, ...]:
    """Return the |z| that equally spaced looks ask of one of several comparisons, the last at the target.

    The level is divided among the comparisons, as the first step of Holm's procedure has it.
    """
    level = significance_level / comparisons
    if method is DecisionMethod.FIXED_HORIZON:
        return (normal_quantile(1.0 - level),)
    if method is DecisionMethod.GROUP_SEQUENTIAL:
        times = look_times(planned_looks)
        return boundaries(times, times, level)
    bounds = anytime_boundaries(
        np.array(look_times(ANYTIME_LOOKS)),
        significance_level=level,
        target_sample_size=1.0,
        tuning_level=significance_level,
    )
    return tuple(float(bound) for bound in bounds)


def look_times(looks: int) -> tuple[float, ...]:
    """Return the shares of the target at which this many equally spaced looks come."""
    return tuple((look + 1) / looks for look in range(looks))


def sequential_power(bounds: tuple[float, ...], fixed_power: float, *, level: float) -> float:
    """Return the probability that some look finds what one look at the target would with `fixed_power`.

    `level` is the two-sided one of that look.
    """
    drift = normal_quantile(1.0 - level) + min(_SURE_SCORE, float(special.ndtri(fixed_power)))
    return power_at_drift(bounds, drift)


def power_at_drift(bounds: tuple[float, ...], drift: float) -> float:
    """Return the probability that some look crosses where z's mean at the last is `drift`."""
    return min(1.0, sum(crossing_probabilities(bounds, look_times(len(bounds)), drift=drift)))


@lru_cache(maxsize=256)
def inflation_factor(bounds: tuple[float, ...], *, level: float, power: float) -> float:
    """Return how many times the users of one look at `level` these looks need for the same power.

    Source: C. Jennison, B. W. Turnbull (2000), Group Sequential Methods, section 2.3 (the ratio R).
    """
    needed = optimize.brentq(lambda drift: power_at_drift(bounds, drift) - power, 0.0, _LARGEST_DRIFT)
    single = normal_quantile(1.0 - level) + float(special.ndtri(power))
    return float((needed / single) ** 2)
