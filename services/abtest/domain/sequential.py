"""Evidence that may be looked at whenever one likes: a confidence sequence by the normal mixture."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.abtest.domain.contrasts import Contrast
from services.abtest.domain.proportions import Interval, floor_p_value

_LN10 = math.log(10.0)


@dataclass(frozen=True, kw_only=True)
class AnytimeEvidence:
    """What a confidence sequence says at one look.

    `relative_lift_interval` covers the true lift at all looks together with the confidence level, None where
    no lift is excluded or defined; `p_value` is under the significance level exactly where the interval
    excludes 0.
    """

    relative_lift_interval: Interval | None
    p_value: float


def tightest_mixing_precision(significance_level: float) -> float:
    """Return rho^2 t at which the sequence is tightest at time t: the x with x = log((1 + x) / alpha^2).

    Source: I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy, A. Ramdas (2024), Annals of Statistics 52,
    2613-2640, appendix on tuning: -W_{-1}(-alpha^2 / e) - 1, here by its contracting fixed point.
    """
    x = 1.0
    for _ in range(100):
        x = math.log1p(x) - 2.0 * math.log(significance_level)
    return x


def anytime_boundaries(
    effective_users: NDArray[np.float64],
    *,
    significance_level: float,
    target_sample_size: float,
    tuning_level: float | None = None,
) -> NDArray[np.float64]:
    """Return the standard errors at which each look is sure at `significance_level`.

    With x = rho^2 t: sqrt((1 + 1 / x) (log(1 + x) - 2 log(alpha))). Time is `effective_users`: users per
    group of an even split with the same standard error. The sequence is tightest at the target for
    `tuning_level` (unset: the same level). One that serves several levels, as comparisons adjusted for being
    several do, has to keep its tuning.

    Source: Waudby-Smith et al. (2024), theorem 2.2 (asymptotic confidence sequences); H. Robbins (1970),
    Annals of Mathematical Statistics 41, 1397-1409 (the normal mixture).
    """
    precision = tightest_mixing_precision(tuning_level or significance_level)
    x = precision * effective_users / target_sample_size
    return np.asarray(np.sqrt((1.0 + 1.0 / x) * (np.log1p(x) - 2.0 * math.log(significance_level))))


def anytime_boundary(
    contrast: Contrast,
    *,
    significance_level: float,
    target_sample_size: int,
    tuning_level: float | None = None,
) -> float:
    """Return the standard errors at which this look is sure; see `anytime_boundaries`."""
    x = _mixing(contrast, tuning_level or significance_level, target_sample_size)
    return math.sqrt((1.0 + 1.0 / x) * (math.log1p(x) - 2.0 * math.log(significance_level)))


def anytime_evidence(
    contrast: Contrast, *, significance_level: float, target_sample_size: int
) -> AnytimeEvidence:
    """Return the confidence sequence at this look, tightest when each group has `target_sample_size` users.

    With z = estimate / standard error and x = rho^2 t, the mixture's likelihood ratio against no lift is
    exp(z^2 x / (2 (1 + x))) / sqrt(1 + x): a supermartingale in the limit, so it exceeds 1 / alpha at any
    look with probability at most alpha (Ville), and its inverse is a p-value at any stopping time.

    Source: as `anytime_boundaries`; R. Johari, P. Koomen, L. Pekelis, D. Walsh (2022), Operations Research
    70, 1806-1821 (the p-value).
    """
    x = _mixing(contrast, significance_level, target_sample_size)
    z = contrast.standardized()
    log_e_value = 0.5 * (z * z * x / (1.0 + x) - math.log1p(x))
    boundary = anytime_boundary(
        contrast, significance_level=significance_level, target_sample_size=target_sample_size
    )
    return AnytimeEvidence(
        relative_lift_interval=contrast.lift_interval(boundary), p_value=floor_p_value(-log_e_value / _LN10)
    )


def _mixing(contrast: Contrast, tuning_level: float, target_sample_size: int) -> float:
    return tightest_mixing_precision(tuning_level) * contrast.effective_users / target_sample_size
