"""How certain a share of the credits is, with the user as the unit.

The delete-a-group jackknife (P. S. Kott, "The delete-a-group jackknife", Journal of Official Statistics 17,
2001): users are put at random into G groups, the share is computed again without each group, and

    var(share) = (G - 1) / G * sum over groups of (share without the group - their mean)^2

with G - 1 degrees of freedom. It needs only sums per group, which add up over days, and it treats every model
alike: `markov` is estimated again without each group. What is uncertain is the share that other users like
these would give; the credits themselves divide what did happen.
"""

from collections.abc import Sequence
from math import log, sqrt

import numpy as np
from scipy.special import expit, stdtrit

from services.analytics.domain.intervals import ConfidenceInterval

MINIMUM_GROUPS = 10
"""Groups with conversions, below which no interval is given."""
_ROUNDING = 1e-12
"""Relative variance that single precision, in which sums per group are kept, makes out of none."""


def estimate_share_interval(
    *,
    credit: float,
    total: float,
    credit_without_group: Sequence[float],
    total_without_group: Sequence[float],
    confidence_level: float = 0.95,
) -> ConfidenceInterval | None:
    """Return the interval of credit / total, on the logit, so that it stays within 0 and 1.

    None where the share is 0 or 1 or undefined, where a group holds every conversion, where fewer than
    `MINIMUM_GROUPS` groups of users have conversions, or where the share does not vary.
    """
    groups = len(total_without_group)
    if len(credit_without_group) != groups or total <= 0 or not 0 < credit < total:
        return None
    totals = np.asarray(total_without_group, dtype=np.float64)
    if (totals <= 0).any() or np.count_nonzero(totals < total) < MINIMUM_GROUPS:
        return None
    shares = np.asarray(credit_without_group, dtype=np.float64) / totals
    share = credit / total
    variance = (groups - 1) / groups * float(np.square(shares - shares.mean()).sum())
    if variance <= _ROUNDING * share * share:
        return None
    half = float(stdtrit(groups - 1, (1 + confidence_level) / 2)) * sqrt(variance) / (share * (1 - share))
    centre = log(share / (1 - share))
    return ConfidenceInterval(lower=float(expit(centre - half)), upper=float(expit(centre + half)))
