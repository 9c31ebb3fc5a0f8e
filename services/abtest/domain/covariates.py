"""CUPED: a metric less what was known of its users before their assignment."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.abtest.domain.estimates import GroupEstimate
from services.abtest.domain.samples import CovariateSample, MeanSample, Stratum, residual_deviations

CUPED = "cuped_welch_t"
CUPED_WINSORIZED = "cuped_welch_t_winsorized"
_LEAST_DEGREES = 2.0


@dataclass(frozen=True, kw_only=True)
class CovariateAdjustment:
    """Every group's value as if all groups had had the same past.

    `coefficient` is theta, the metric's slope on the covariate. `variance_reduction` is the share of the
    metric's variance within groups that the covariate explains, 0 to 1. `strata` holds the adjusted
    estimates, in the order of the samples.
    """

    coefficient: float
    variance_reduction: float
    strata: tuple[Stratum[GroupEstimate], ...]


def adjust_by_covariate(strata: Sequence[Stratum[CovariateSample]]) -> CovariateAdjustment | None:
    """Return the adjusted estimates of all groups; None where covariate or metric do not vary, or users lack.

    A group's value is its mean less theta times what its mean covariate exceeds that of its whole stratum.
    Theta is one for all: the slope within groups, which no effect can bend. What estimating it costs is in
    the errors, by the factor D / (D - 2) with D = sum (n - 1): one degree of freedom, and on average
    1 / (D - 2) for the groups' covariates differing by chance.

    Source: A. Deng, Y. Xu, R. Kohavi, T. Walker (2013), WSDM, 123-132, equations 4 and 5; W. G. Cochran
    (1957), Biometrics 13, 261-281 (analysis of covariance, which has the same estimate, and theta's cost).
    """
    samples = [sample for stratum in strata for sample in stratum.groups]
    degrees = sum(max(0, sample.users - 1) for sample in samples)
    covariate = sum(sample.covariate.squared_deviations for sample in samples)
    outcome = sum(sample.outcome.squared_deviations for sample in samples)
    cross = sum(sample.cross_deviations for sample in samples)
    if covariate <= 0.0 or outcome <= 0.0 or degrees <= _LEAST_DEGREES:
        return None
    coefficient = cross / covariate
    inflation = degrees / (degrees - _LEAST_DEGREES)
    return CovariateAdjustment(
        coefficient=coefficient,
        variance_reduction=min(1.0, cross / covariate * cross / outcome),
        strata=tuple(_adjust_stratum(stratum, coefficient, inflation) for stratum in strata),
    )


def _adjust_stratum(
    stratum: Stratum[CovariateSample], coefficient: float, inflation: float
) -> Stratum[GroupEstimate]:
    everybody = sum((sample.covariate for sample in stratum.groups), start=MeanSample()).mean
    return Stratum(
        label=stratum.label,
        groups=tuple(
            _adjust_group(sample, coefficient, everybody or 0.0, inflation) for sample in stratum.groups
        ),
    )


def _adjust_group(
    sample: CovariateSample, coefficient: float, everybody: float, inflation: float
) -> GroupEstimate:
    outcome, covariate = sample.outcome.mean, sample.covariate.mean
    if outcome is None or covariate is None:
        return GroupEstimate(users=0)
    value = outcome - coefficient * (covariate - everybody)
    if sample.users == 1:
        return GroupEstimate(users=1, value=value)
    degrees = sample.users - 1.0
    deviations = residual_deviations(
        sample.outcome, sample.covariate, cross_deviations=sample.cross_deviations, slope=coefficient
    )
    return GroupEstimate(
        users=sample.users,
        value=value,
        squared_standard_error=deviations * inflation / degrees / sample.users,
        degrees_of_freedom=degrees,
    )
