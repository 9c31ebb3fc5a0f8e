"""Effects within strata put together, so that groups mixed differently over strata do not pass for an effect.

Strata are weight epochs, whose weights mixed them, or segments.
"""

from collections.abc import Sequence
from enum import Enum

from services.abtest.domain.estimates import (
    Effect,
    Estimate,
    GroupEstimate,
    combine_estimates,
    compare_estimates,
)
from services.abtest.domain.samples import Stratum

PREFIX = "post_stratified_"
_LEAST_STRATA = 2


class Weighting(Enum):
    """How much a stratum counts.

    `INFORMATION` gives n0 n1 / (n0 + n1), what a stratum can tell of a common effect: for weight epochs
    (W. G. Cochran 1954, Biometrics 10, 417-451; N. Mantel, W. Haenszel 1959, JNCI 22, 719-748). `USERS` gives
    its share of the users, so that the effect is that on an average user: for segments (L. W. Miratrix,
    J. S. Sekhon, B. Yu 2013, JRSS B 75, 369-396).
    """

    INFORMATION = "information"
    USERS = "users"


def compare_strata(
    strata: Sequence[Stratum[GroupEstimate]],
    variant: int,
    *,
    confidence_level: float,
    method: str,
    weighting: Weighting = Weighting.INFORMATION,
) -> Effect:
    """Return group `variant` compared with control, both as weighted means over the same strata.

    A stratum counts where both groups' spreads are known. With one such stratum, or none, this is the
    comparison within that stratum, or the largest, under its own `method`; otherwise the method is named
    post-stratified.
    """
    pairs = [(stratum.groups[0], stratum.groups[variant]) for stratum in strata]
    usable = [pair for pair in pairs if all(group.degrees_of_freedom for group in pair)]
    if len(usable) < _LEAST_STRATA:
        nobody = GroupEstimate(users=0)
        only = max(usable or pairs, key=_smaller_users, default=(nobody, nobody))
        return compare_estimates(*only, confidence_level=confidence_level, method=method)
    weights = stratum_weights([(control.users, treated.users) for control, treated in usable], weighting)
    return compare_estimates(
        _average([pair[0] for pair in usable], weights),
        _average([pair[1] for pair in usable], weights),
        confidence_level=confidence_level,
        method=PREFIX + method,
    )


def stratum_weights(users: Sequence[tuple[int, int]], weighting: Weighting) -> tuple[float, ...]:
    """Return the strata's weights, summing to 1; each stratum has users in control and variant."""
    if weighting is Weighting.USERS:
        sizes = [float(control + treated) for control, treated in users]
    else:
        sizes = [control * treated / (control + treated) for control, treated in users]
    return tuple(size / sum(sizes) for size in sizes)


def _smaller_users(pair: tuple[GroupEstimate, GroupEstimate]) -> int:
    return min(group.users for group in pair)


def _average(groups: Sequence[GroupEstimate], weights: Sequence[float]) -> GroupEstimate:
    users = sum(group.users for group in groups)
    mean: Estimate | None = combine_estimates(list(zip(weights, groups, strict=True)))
    if mean is None:
        # Nothing varies in any stratum.
        value = sum(weight * (group.value or 0.0) for weight, group in zip(weights, groups, strict=True))
        return GroupEstimate(
            users=users, value=value, squared_standard_error=0.0, degrees_of_freedom=users - 1.0
        )
    return GroupEstimate(
        users=users,
        value=mean.value,
        squared_standard_error=mean.standard_error**2,
        degrees_of_freedom=mean.degrees_of_freedom,
    )
