"""What one metric shows: every group's value, and every variant against control."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.abtest.domain.metrics import Metric
from services.abtest.domain.model import TestDesign
from services.abtest.domain.multiplicity import adjust_by_benjamini_hochberg, adjust_by_holm
from services.abtest.domain.outcomes import MetricOutcome
from services.abtest.domain.posteriors import compare_posteriors
from services.abtest.domain.proportions import HypothesisTest, Interval
from services.abtest.domain.sequential import AnytimeEvidence


@dataclass(frozen=True, kw_only=True)
class GroupValue:
    """A group by one metric; whatever is undefined is None.

    `value` is the share, mean or ratio, with its interval at the design's confidence level. `total` is what
    was added up over users, and `denominator_total` what a ratio's denominator was. `adjusted_value` is the
    mean less its past (CUPED).
    """

    group: str
    users: int
    value: float | None
    value_interval: Interval | None
    standard_error: float | None
    total: float
    denominator_total: float | None = None
    adjusted_value: float | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A variant compared with control by one metric; whatever is undefined is None.

    `test` and the intervals are right at one look fixed beforehand, `anytime` at every look. Where there
    are several weight epochs, all of it is post-stratified, and the lift of rates is in
    `stratified_relative_lift` too. `adjusted_p_value` is by Holm and `false_discovery_p_value` by Benjamini
    and Hochberg, over the variants and metrics of one role. `power` is that of the test for the design's own
    minimum detectable effect, from control's value so far.
    """

    group: str
    test: HypothesisTest | None
    anytime: AnytimeEvidence | None
    absolute_lift: float | None
    absolute_lift_interval: Interval | None
    relative_lift: float | None
    relative_lift_interval: Interval | None
    power: float | None
    adjusted_p_value: float | None = None
    false_discovery_p_value: float | None = None
    degrees_of_freedom: float | None = None
    standard_error: float | None = None
    stratified_relative_lift: float | None = None
    stratified_relative_lift_interval: Interval | None = None
    variance_reduction: float | None = None
    non_inferiority_p_value: float | None = None
    probability_to_beat_control: float | None = None
    expected_loss: float | None = None
    credible_interval: Interval | None = None
    posterior_method: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MetricResult:
    """What one metric shows; `comparisons` has one entry per group but control.

    `no_data_reason` tells why it shows nothing, None where it does.
    """

    metric: Metric
    groups: tuple[GroupValue, ...]
    comparisons: tuple[Comparison, ...]
    winsorize_cap: float | None = None
    no_data_reason: str | None = None
    warnings: tuple[str, ...] = ()


def adjust_p_values(results: Sequence[MetricResult]) -> tuple[MetricResult, ...]:
    """Return the results with p-values adjusted over all variants and metrics of the same role."""
    adjusted: dict[tuple[int, int], tuple[float | None, float | None]] = {}
    for role in {result.metric.role for result in results}:
        family = [
            (index, place)
            for index, result in enumerate(results)
            if result.metric.role is role
            for place in range(len(result.comparisons))
        ]
        tests = [results[index].comparisons[place].test for index, place in family]
        p_values = [None if test is None else test.p_value for test in tests]
        holm, rate = adjust_by_holm(p_values), adjust_by_benjamini_hochberg(p_values)
        adjusted.update(zip(family, zip(holm, rate, strict=True), strict=True))
    return tuple(
        replace(
            result,
            comparisons=tuple(
                replace(
                    comparison,
                    adjusted_p_value=adjusted[index, place][0],
                    false_discovery_p_value=adjusted[index, place][1],
                )
                for place, comparison in enumerate(result.comparisons)
            ),
        )
        for index, result in enumerate(results)
    )


def add_posteriors(design: TestDesign, outcome: MetricOutcome, result: MetricResult) -> MetricResult:
    """Return a metric's result with the Bayesian posterior of every variant."""
    return replace(
        result,
        comparisons=tuple(
            _add_posterior(design, outcome, comparison, index)
            for index, comparison in enumerate(result.comparisons, start=1)
        ),
    )


def _add_posterior(
    design: TestDesign, outcome: MetricOutcome, comparison: Comparison, index: int
) -> Comparison:
    posterior = compare_posteriors(
        outcome.metric, outcome.strata, index, confidence_level=design.confidence_level
    )
    if posterior is None:
        return comparison
    return replace(
        comparison,
        probability_to_beat_control=posterior.probability_to_beat_control,
        expected_loss=posterior.expected_loss,
        credible_interval=posterior.credible_interval,
        posterior_method=posterior.method,
    )
