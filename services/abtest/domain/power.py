"""What a number of users can find in a comparison of two conversion rates."""

import math

from scipy import special

from services.abtest.domain.proportions import normal_quantile


def power_of_comparison(
    *,
    control_rate: float,
    variant_rate: float,
    control_users: int,
    variant_users: int,
    confidence_level: float,
) -> float | None:
    """Return the probability that the two-sided chi-squared test finds this difference.

    Rates lie in (0, 1) and differ; None without users in a group.

    Source: J. L. Fleiss, B. Levin, M. C. Paik (2003), Statistical Methods for Rates and Proportions, 3rd ed.,
    chapter 4: pooled variance under equal rates, own variances under the alternative, no continuity
    correction; both tails counted.

    >>> round(power_of_comparison(control_rate=0.10, variant_rate=0.12, control_users=1000,
    ...                           variant_users=1000, confidence_level=0.95), 3)
    0.298
    """
    if not control_users or not variant_users:
        return None
    difference = abs(variant_rate - control_rate)
    pooled = (control_rate * control_users + variant_rate * variant_users) / (control_users + variant_users)
    null_error = math.sqrt(pooled * (1.0 - pooled) * (1.0 / control_users + 1.0 / variant_users))
    error = math.sqrt(
        control_rate * (1.0 - control_rate) / control_users
        + variant_rate * (1.0 - variant_rate) / variant_users
    )
    threshold = normal_quantile(confidence_level) * null_error
    return float(
        special.ndtr((difference - threshold) / error) + special.ndtr((-difference - threshold) / error)
    )
