"""How many users a test needs."""

from typing import Final

from services.abtest.domain.power import required_sample_size_per_group
from services.common.errors import invalid_field

LARGEST_SAMPLE_SIZE: Final = 10**12


def estimate_sample_size(
    *,
    baseline_conversion_rate: float,
    minimum_detectable_effect: float,
    confidence_level: float,
    power: float,
) -> int:
    """Return the users per group that find a relative effect with `power`.

    Raises:
        InvalidArgumentError: more users than anybody has.
    """
    try:
        size = required_sample_size_per_group(
            control_rate=baseline_conversion_rate,
            variant_rate=baseline_conversion_rate * (1.0 + minimum_detectable_effect),
            confidence_level=confidence_level,
            power=power,
        )
    except OverflowError:  # more than a double holds
        size = LARGEST_SAMPLE_SIZE + 1
    if size > LARGEST_SAMPLE_SIZE:
        raise invalid_field(
            "minimum_detectable_effect",
            f"is so small that more than {LARGEST_SAMPLE_SIZE} users per group were needed",
            "EFFECT_TOO_SMALL",
        )
    return size
