"""Comparing every variant with control by one metric, from its samples."""

import math
from collections.abc import Sequence

from scipy import special

from services.abtest.domain.assessment import margin_ratio
from services.abtest.domain.comparisons import Comparison, GroupValue, MetricResult
from services.abtest.domain.contrasts import (
    MetricContrast,
    Sample,
    amounts_of,
    contrast_metric,
    estimate_strata,
    smallest_contributors,
    strata_of_kind,
)
from services.abtest.domain.covariates import adjust_by_covariate
from services.abtest.domain.estimates import Effect, GroupEstimate
from services.abtest.domain.means import estimate_mean
from services.abtest.domain.metrics import Metric, MetricKind
from services.abtest.domain.model import GroupCounts, TestDesign
from services.abtest.domain.outcomes import MetricOutcome
from services.abtest.domain.poststratification import compare_strata
from services.abtest.domain.power import power_of_comparison
from services.abtest.domain.proportions import (
    COVERED_CONVERSIONS,
    COVERED_OTHERS,
    compare_proportions,
    difference_interval,
    lift_interval,
    lift_is_covered,
    normal_quantile,
    wilson_interval,
)
from services.abtest.domain.ratios import estimate_ratio
from services.abtest.domain.samples import CovariateSample, MeanSample, RatioSample, Stratum
from services.abtest.domain.sequential import AnytimeEvidence, anytime_evidence
from services.abtest.domain.stratified_rates import usable_pairs

LOPSIDED_SIZES = 4.0
FEW_CONTRIBUTORS = 100.0
"""Below, where groups are lopsided, Welch's test of skewed amounts breaks its level
(tests/reference/abtest/test_lopsided_amounts.py): the smaller group's mean and variance go together."""


def compare_metric(design: TestDesign, outcome: MetricOutcome, *, yates: bool = False) -> MetricResult:
    """Return what a metric shows; p-values are not adjusted, and posteriors not added yet.

    With `yates`, p-values of rates are continuity-corrected; nothing else is.
    """
    totals = outcome.totals() or tuple(_empty(outcome.metric) for _ in design.groups)
    indices = range(1, len(design.groups))
    if outcome.metric.kind is MetricKind.PROPORTION:
        counts = [sample for sample in totals if isinstance(sample, GroupCounts)]
        groups = [
            _rate_of_group(design, group.name, each)
            for group, each in zip(design.groups, counts, strict=True)
        ]
        comparisons = [_compare_rates(design, outcome, counts, index, yates=yates) for index in indices]
    else:
        estimates, method = estimate_strata(outcome.metric, outcome.strata)
        effects = [
            compare_strata(estimates, index, confidence_level=design.confidence_level, method=method)
            for index in indices
        ]
        adjusted = _adjusted_values(outcome, effects)
        groups = [
            _value_of_group(design, group.name, sample, value)
            for group, sample, value in zip(design.groups, totals, adjusted, strict=True)
        ]
        comparisons = [
            _describe_effect(design, outcome, effect, index)
            for index, effect in zip(indices, effects, strict=True)
        ]
    return MetricResult(
        metric=outcome.metric,
        groups=tuple(groups),
        comparisons=tuple(comparisons),
        winsorize_cap=outcome.winsorize_cap,
        no_data_reason=outcome.no_data_reason or _why_no_data(outcome.metric, groups),
    )


def _empty(metric: Metric) -> Sample:
    if metric.kind is MetricKind.PROPORTION:
        return GroupCounts(users=0)
    if metric.kind is MetricKind.RATIO:
        return RatioSample()
    return MeanSample() if metric.covariate_days is None else CovariateSample()


def _why_no_data(metric: Metric, groups: Sequence[GroupValue]) -> str | None:
    if not any(group.users for group in groups):
        return "nobody was assigned yet"
    if metric.kind is MetricKind.RATIO:
        if not any(group.denominator_total for group in groups):
            return "no user has an event that the denominator counts"
    elif not any(group.total for group in groups):
        return "no user has an event that the metric counts"
    return None


def _rate_of_group(design: TestDesign, name: str, counts: GroupCounts) -> GroupValue:
    rate = counts.conversion_rate
    return GroupValue(
        group=name,
        users=counts.users,
        value=rate,
        value_interval=wilson_interval(counts, design.confidence_level) if counts.users else None,
        standard_error=None if rate is None else math.sqrt(rate * (1.0 - rate) / counts.users),
        total=float(counts.conversions),
    )


def _value_of_group(
    design: TestDesign,
    name: str,
    sample: Sample,
    adjusted: float | None,
) -> GroupValue:
    amounts = amounts_of(sample)
    ratio = sample if isinstance(sample, RatioSample) else None
    estimate = estimate_ratio(ratio) if ratio else estimate_mean(amounts)
    return GroupValue(
        group=name,
        users=sample.users,
        value=estimate.value,
        value_interval=estimate.interval(design.confidence_level),
        standard_error=_standard_error(estimate),
        total=amounts.total,
        denominator_total=ratio.denominator.total if ratio else None,
        adjusted_value=adjusted,
    )


def _standard_error(estimate: GroupEstimate) -> float | None:
    squared = estimate.squared_standard_error
    return None if squared is None else math.sqrt(squared)


def _variance_reduction(strata: Sequence[Stratum[object]]) -> float | None:
    """Return the share of the variance that the past explains; None where there is no usable past."""
    found = [
        Stratum(label=stratum.label, groups=groups)
        for stratum in strata
        if (groups := tuple(each for each in stratum.groups if isinstance(each, CovariateSample)))
    ]
    adjusted = adjust_by_covariate(found) if found else None
    return None if adjusted is None else adjusted.variance_reduction


def _adjusted_values(outcome: MetricOutcome, effects: Sequence[Effect]) -> list[float | None]:
    if _variance_reduction(outcome.strata) is None:
        return [None] * (len(effects) + 1)
    return [effects[0].control.value, *(effect.variant.value for effect in effects)]


def _compare_rates(
    design: TestDesign,
    outcome: MetricOutcome,
    totals: Sequence[GroupCounts],
    index: int,
    *,
    yates: bool,
) -> Comparison:
    pairs = usable_pairs(strata_of_kind(outcome.strata, GroupCounts) or [], index)
    if len(pairs) > 1:
        return _compare_rates_within_epochs(design, outcome, totals, index)
    # An epoch in which one of the two had no users compares nothing.
    control, variant = pairs[0] if pairs else (totals[0], totals[index])
    absolute_lift, relative_lift = _lifts(control.conversion_rate, variant.conversion_rate)
    contrast = contrast_metric(outcome.metric, outcome.strata, index)
    errors = [
        each.conversion_rate * (1.0 - each.conversion_rate) / each.users
        for each in (control, variant)
        if each.conversion_rate is not None
    ]
    return Comparison(
        group=design.groups[index].name,
        test=compare_proportions(control, variant, yates=yates),
        anytime=_anytime(design, contrast),
        absolute_lift=absolute_lift,
        absolute_lift_interval=difference_interval(control, variant, design.confidence_level),
        relative_lift=relative_lift,
        relative_lift_interval=lift_interval(control, variant, design.confidence_level),
        power=_power_of_rates(design, control, variant),
        standard_error=None if absolute_lift is None else math.sqrt(sum(errors)),
        non_inferiority_p_value=_non_inferiority(outcome.metric, contrast),
        warnings=_warn_of_few_conversions(design, index, control, variant),
    )


def _compare_rates_within_epochs(
    design: TestDesign, outcome: MetricOutcome, totals: Sequence[GroupCounts], index: int
) -> Comparison:
    """Return the comparison where weights changed: pooled over epochs, a drift would pass for an effect."""
    contrast = contrast_metric(outcome.metric, outcome.strata, index)
    estimates, method = estimate_strata(outcome.metric, outcome.strata)
    effect = compare_strata(estimates, index, confidence_level=design.confidence_level, method=method)
    z = normal_quantile(design.confidence_level)
    interval = contrast.contrast.lift_interval(z) if contrast.contrast else None
    return Comparison(
        group=design.groups[index].name,
        test=contrast.fixed,
        anytime=_anytime(design, contrast),
        absolute_lift=effect.absolute_lift,
        absolute_lift_interval=effect.absolute_lift_interval,
        relative_lift=effect.relative_lift,
        relative_lift_interval=interval,
        power=_power_of_rates(design, totals[0], totals[index]),
        standard_error=effect.difference.standard_error if effect.difference else None,
        stratified_relative_lift=effect.relative_lift,
        stratified_relative_lift_interval=interval,
        non_inferiority_p_value=_non_inferiority(outcome.metric, contrast),
        warnings=_warn_of_few_conversions(design, index, totals[0], totals[index]),
    )


def _describe_effect(design: TestDesign, outcome: MetricOutcome, effect: Effect, index: int) -> Comparison:
    contrast = contrast_metric(outcome.metric, outcome.strata, index)
    difference = effect.difference
    return Comparison(
        group=design.groups[index].name,
        test=effect.test,
        anytime=_anytime(design, contrast),
        absolute_lift=effect.absolute_lift,
        absolute_lift_interval=effect.absolute_lift_interval,
        relative_lift=effect.relative_lift,
        relative_lift_interval=effect.relative_lift_interval,
        power=_power_of_difference(design, effect),
        degrees_of_freedom=difference.degrees_of_freedom if difference else None,
        standard_error=difference.standard_error if difference else None,
        variance_reduction=_variance_reduction(outcome.strata),
        non_inferiority_p_value=_non_inferiority(outcome.metric, contrast),
        warnings=_warn_of_lopsided_amounts(design, outcome, index),
    )


def _lifts(control: float | None, variant: float | None) -> tuple[float | None, float | None]:
    """Return variant's value minus control's, and over control's minus 1."""
    if control is None or variant is None:
        return None, None
    return variant - control, (variant / control - 1.0) if control else None


def _anytime(design: TestDesign, made: MetricContrast) -> AnytimeEvidence | None:
    if not made.is_ready or made.contrast is None:
        return None
    return anytime_evidence(
        made.contrast,
        significance_level=design.significance_level,
        target_sample_size=design.target_sample_size,
    )


def _non_inferiority(metric: Metric, made: MetricContrast) -> float | None:
    """Return the one-sided p-value of losing the margin or more; None without a margin, or unknown."""
    ratio = margin_ratio(metric)
    if ratio is None or ratio <= 0.0 or made.contrast is None:
        return None
    score = made.contrast.standardized(ratio)
    return float(special.ndtr(-score if metric.higher_is_better else score))


def _power_of_rates(design: TestDesign, control: GroupCounts, variant: GroupCounts) -> float | None:
    effect, control_rate = design.minimum_detectable_effect, control.conversion_rate
    if effect is None or not control_rate:
        return None
    variant_rate = control_rate * (1.0 + effect)
    if not (0.0 < control_rate < 1.0 and 0.0 < variant_rate < 1.0):
        return None
    return power_of_comparison(
        control_rate=control_rate,
        variant_rate=variant_rate,
        control_users=control.users,
        variant_users=variant.users,
        confidence_level=design.confidence_level,
    )


def _power_of_difference(design: TestDesign, effect: Effect) -> float | None:
    """Return the power of the z-test at the design's effect, with the standard error there is now.

    Source: J. Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, chapter 2, for large
    samples.
    """
    if design.minimum_detectable_effect is None or effect.difference is None or not effect.control.value:
        return None
    distance = abs(design.minimum_detectable_effect * effect.control.value) / effect.difference.standard_error
    quantile = normal_quantile(design.confidence_level)
    return float(special.ndtr(distance - quantile) + special.ndtr(-distance - quantile))


def _warn_of_lopsided_amounts(design: TestDesign, outcome: MetricOutcome, index: int) -> tuple[str, ...]:
    totals = outcome.totals()
    if not totals:
        return ()
    fewer, more = sorted((totals[0].users, totals[index].users))
    few = smallest_contributors(outcome.strata, index) < FEW_CONTRIBUTORS
    if not fewer or not few or more < LOPSIDED_SIZES * fewer:
        return ()
    names = f"{design.groups[0].name} and {design.groups[index].name}"
    warning = (
        f"groups {names} differ in size more than fourfold, and few users bring the smaller one's "
        f"{outcome.metric.name}: p_value and its intervals, which fixed_horizon decides by, may be wrong "
        "more often than their level says"
    )
    return (warning,)


def _warn_of_few_conversions(
    design: TestDesign, index: int, control: GroupCounts, variant: GroupCounts
) -> tuple[str, ...]:
    return tuple(
        f"group {design.groups[place].name} has fewer than {few}: relative_lift_interval may miss the true "
        "lift more often than its confidence level says"
        for place, counts in ((0, control), (index, variant))
        if counts.users and not lift_is_covered(counts)
        for few in [
            f"{COVERED_CONVERSIONS} conversions"
            if counts.conversions < COVERED_CONVERSIONS
            else f"{COVERED_OTHERS} users who did not convert"
        ]
    )
