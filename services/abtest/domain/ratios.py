"""A sum over a sum, such as clicks over views, where the user was assigned and not the view."""

from services.abtest.domain.estimates import Effect, GroupEstimate, compare_estimates
from services.abtest.domain.samples import RatioSample, residual_deviations

DELTA_METHOD = "delta_method_t"


def estimate_ratio(sample: RatioSample) -> GroupEstimate:
    """Return a group's ratio of sums with its squared standard error.

    A user's part in the error is what the numerator deviates from ratio times denominator, over the mean
    denominator: Var(R) = (s_nn - 2 R s_nd + R^2 s_dd) / (users d^2). Views as units would take one user's
    views for independent, and be wrong the more often the more each user views.

    Source: A. Deng, U. Knoblich, J. Lu (2018), KDD, 233-242, equation 5 (delta method); W. G. Cochran (1977),
    Sampling Techniques, 3rd ed., equation 6.13.
    """
    ratio = sample.ratio
    if ratio is None:
        return GroupEstimate(users=sample.users)
    if sample.users == 1:
        return GroupEstimate(users=1, value=ratio)
    deviations = residual_deviations(
        sample.numerator, sample.denominator, cross_deviations=sample.cross_deviations, slope=ratio
    )
    degrees = sample.users - 1.0
    # 1 / (users d^2) is users / total^2.
    squared_error = deviations / degrees * sample.users / sample.denominator.total**2
    return GroupEstimate(
        users=sample.users, value=ratio, squared_standard_error=squared_error, degrees_of_freedom=degrees
    )


def compare_ratios(control: RatioSample, variant: RatioSample, *, confidence_level: float) -> Effect:
    """Return two groups' ratios compared; see `estimate_ratio` for their errors."""
    return compare_estimates(
        estimate_ratio(control),
        estimate_ratio(variant),
        confidence_level=confidence_level,
        method=DELTA_METHOD,
    )
