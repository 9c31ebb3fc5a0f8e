"""A value per user, such as revenue: each group's mean, and means compared."""

from services.abtest.domain.estimates import Effect, GroupEstimate, compare_estimates
from services.abtest.domain.samples import MeanSample

WELCH = "welch_t"
WELCH_WINSORIZED = "welch_t_winsorized"


def estimate_mean(sample: MeanSample) -> GroupEstimate:
    """Return a group's mean with its squared standard error."""
    variance = sample.variance
    return GroupEstimate(
        users=sample.users,
        value=sample.mean,
        squared_standard_error=None if variance is None else variance / sample.users,
        degrees_of_freedom=None if variance is None else sample.users - 1.0,
    )


def compare_means(
    control: MeanSample, variant: MeanSample, *, confidence_level: float, winsorized: bool = False
) -> Effect:
    """Return Welch's comparison of two means, which lets the groups' variances differ.

    With `winsorized`, the values were capped at one value for all groups, taken from all of them together;
    the comparison is then of the capped means, and its method says so. A cap per group would hide an effect
    on the largest values and find one where there is none.

    Source: B. L. Welch (1947), Biometrika 34, 28-35; J. W. Tukey, D. H. McLaughlin (1963), Sankhya A 25,
    331-352 (winsorising).
    """
    return compare_estimates(
        estimate_mean(control),
        estimate_mean(variant),
        confidence_level=confidence_level,
        method=WELCH_WINSORIZED if winsorized else WELCH,
    )
