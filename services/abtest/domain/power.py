"""How many users a comparison of two conversion rates needs, and what a number of users can find."""

import math

from scipy import special

from services.abtest.domain.proportions import normal_quantile

FORMULA = "two_proportion_pooled_z"
"""The name of the formula below, as answers carry it."""


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


def required_sample_size_per_group(
    *, control_rate: float, variant_rate: float, confidence_level: float, power: float
) -> int:
    """Return the users each of two equal groups needs to find this difference with `power`.

    Rates lie in (0, 1) and differ. The far tail is left out, as the formula has it.

    Source: Fleiss, Levin, Paik (2003), equation 4.14.

    >>> required_sample_size_per_group(control_rate=0.10, variant_rate=0.12, confidence_level=0.95, power=0.8)
    3841
    """
    mean = (control_rate + variant_rate) / 2.0
    null_error = math.sqrt(2.0 * mean * (1.0 - mean))
    error = math.sqrt(control_rate * (1.0 - control_rate) + variant_rate * (1.0 - variant_rate))
    spread = normal_quantile(confidence_level) * null_error + float(special.ndtri(power)) * error
    return math.ceil((spread / (variant_rate - control_rate)) ** 2)
