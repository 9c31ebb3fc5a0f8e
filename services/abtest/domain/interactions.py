"""Does the effect differ between segments? Each segment's own p-value cannot tell: some differ by chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from services.abtest.domain.estimates import Estimate
from services.abtest.domain.model import GroupCounts
from services.abtest.domain.multiplicity import adjust_by_holm
from services.abtest.domain.proportions import SMALL_EXPECTED_COUNT, HypothesisTest, smallest_expected_count
from services.abtest.domain.stratified_rates import (
    Counted,
    estimate_log_ratio,
    smallest_stratified_expected_count,
    usable_pairs,
)
from services.abtest.domain.tails import f_test

WELCH_ANOVA = "welch_anova"
_FEWEST_SEGMENTS = 2


@dataclass(frozen=True, kw_only=True)
class SegmentSplit:
    """The effect on the users inside a segment and on all others; None where too few tell.

    Both effects are on one scale: log ratios, or differences. Segments may overlap, the two sides never do.
    """

    segment: str
    inside: Estimate | None
    outside: Estimate | None


@dataclass(frozen=True, kw_only=True)
class SegmentInteraction:
    """Whether a segment's effect differs from that on all other users; None where one of the two is unknown.

    `adjusted_p_value` is adjusted by Holm over the segments looked at.
    """

    segment: str
    test: HypothesisTest | None
    adjusted_p_value: float | None


def compare_segments(splits: Sequence[SegmentSplit]) -> tuple[SegmentInteraction, ...]:
    """Return every segment's interaction, in the order given.

    Holm's adjustment holds for segments that share users, whose tests depend on each other.
    """
    tests = [
        None
        if split.inside is None or split.outside is None
        else compare_effects([split.inside, split.outside])
        for split in splits
    ]
    adjusted = adjust_by_holm([None if test is None else test.p_value for test in tests])
    return tuple(
        SegmentInteraction(segment=split.segment, test=test, adjusted_p_value=p_value)
        for split, test, p_value in zip(splits, tests, adjusted, strict=True)
    )


def compare_effects(effects: Sequence[Estimate]) -> HypothesisTest | None:
    """Return the test that the effect is the same on several sets of users that do not overlap.

    None with fewer than two. With two it is Welch's t-test of their difference (the statistic is its square);
    with known variances it is W. G. Cochran's Q over its degrees of freedom.

    Source: B. L. Welch (1951), Biometrika 38, 330-336; W. G. Cochran (1954), Biometrics 10, 101-129 (Q).
    """
    count = len(effects)
    if count < _FEWEST_SEGMENTS:
        return None
    weights = [1.0 / effect.standard_error**2 for effect in effects]
    total = sum(weights)
    mean = sum(weight * effect.value for weight, effect in zip(weights, effects, strict=True)) / total
    between = sum(
        weight * (effect.value - mean) ** 2 for weight, effect in zip(weights, effects, strict=True)
    )
    unsure = sum(
        (1.0 - weight / total) ** 2 / effect.degrees_of_freedom
        for weight, effect in zip(weights, effects, strict=True)
    )
    scale = 1.0 + 2.0 * (count - 2) / (count**2 - 1) * unsure
    return f_test(
        between / (count - 1) / scale,
        count - 1.0,
        (count**2 - 1) / (3.0 * unsure) if unsure else math.inf,
        method=WELCH_ANOVA,
    )


def estimate_log_rate_ratio_within(strata: Sequence[Counted], variant: int) -> Estimate | None:
    """Return the log rate ratio of group `variant` within strata; None where too few are expected.

    Weight epochs of other weights would otherwise pass for an effect, in one segment more than in another.

    Source: `estimate_log_ratio` of `stratified_rates`.
    """
    pairs = usable_pairs(strata, variant)
    if len(pairs) == 1:
        return estimate_log_rate_ratio(*pairs[0])
    log_ratio = estimate_log_ratio(strata, variant)
    if log_ratio is None or smallest_stratified_expected_count(strata, variant) < SMALL_EXPECTED_COUNT:
        return None
    return Estimate(
        value=log_ratio.point_estimate,
        standard_error=log_ratio.standard_error,
        degrees_of_freedom=math.inf,
    )


def estimate_log_rate_ratio(control: GroupCounts, variant: GroupCounts) -> Estimate | None:
    """Return the log of variant's conversion rate over control's, for comparison with that of other users.

    None where a count expected under equal rates is under 5: the estimate is then too far from normal.

    Source: H. M. Pettigrew, J. J. Gart, D. G. Thomas (1986), Biometrika 73, 425-435: with half a conversion
    and half a user more, log rate and variance are unbiased to the second order.
    """
    if (smallest_expected_count(control, variant) or 0.0) < SMALL_EXPECTED_COUNT:
        return None
    value = variance = 0.0
    for sign, counts in ((-1.0, control), (1.0, variant)):
        conversions, users = counts.conversions + 0.5, counts.users + 0.5
        value += sign * math.log(conversions / users)
        variance += 1.0 / conversions - 1.0 / users
    return Estimate(value=value, standard_error=math.sqrt(variance), degrees_of_freedom=math.inf)
