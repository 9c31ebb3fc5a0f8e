"""Results that were kept before analyses were kept whole: a control, one variant, conversions."""

from collections.abc import Sequence

from services.abtest.domain.analysis import Analysis, describe_group
from services.abtest.domain.comparisons import Comparison, GroupValue, MetricResult
from services.abtest.domain.metrics import CONVERSION_RATE
from services.abtest.domain.model import ABTest, GroupCounts
from services.abtest.domain.proportions import HypothesisTest, Interval, wilson_interval
from services.abtest.domain.sample_ratio import SampleRatioCheck
from services.abtest.domain.sample_ratio_scopes import OVERALL, ScopedSampleRatio
from services.abtest.domain.sequential import AnytimeEvidence
from services.abtest.domain.verdicts import Decision, Verdict
from services.abtest.store.statements import Record


def analysis_of_columns(test: ABTest, result: Record, groups: Sequence[Record]) -> Analysis:
    """Return the analysis that columns hold; what they do not hold is None."""
    design, winner = test.design, result["winner_index"]
    counts = [GroupCounts(users=row["users"], conversions=row["conversions"]) for row in groups]
    names = [group.name for group in design.groups]
    return Analysis(
        groups=tuple(describe_group(design, name, each) for name, each in zip(names, counts, strict=True)),
        metrics=(
            MetricResult(
                metric=CONVERSION_RATE,
                groups=tuple(
                    GroupValue(
                        group=name,
                        users=each.users,
                        value=each.conversion_rate,
                        value_interval=wilson_interval(each, design.confidence_level) if each.users else None,
                        standard_error=None,
                        total=float(each.conversions),
                    )
                    for name, each in zip(names, counts, strict=True)
                ),
                comparisons=tuple(
                    _comparison(name, row) for name, row in zip(names[1:], groups[1:], strict=True)
                ),
            ),
        ),
        sample_ratios=()
        if result["sample_ratio_p_value"] is None
        else (_sample_ratio(test, counts, result),),
        decision=Decision(
            verdict=Verdict(result["verdict"]),
            winner=None if winner is None else names[winner],
            recommendation=result["recommendation"],
            reasons=tuple(result["reasons"]),
        ),
        warnings=tuple(result["warnings"]),
        compared_group=names[1] if counts[1].users else None,
    )


def _sample_ratio(test: ABTest, counts: Sequence[GroupCounts], result: Record) -> ScopedSampleRatio:
    total = sum(each.users for each in counts)
    return ScopedSampleRatio(
        scope=OVERALL,
        name="",
        users=tuple(each.users for each in counts),
        expected_users=tuple(total * weight for weight in test.epoch.weights),
        check=SampleRatioCheck(
            fixed_p_value=result["sample_ratio_p_value"],
            sequential_p_value=result["sequential_sample_ratio_p_value"],
        ),
    )


def _comparison(name: str, row: Record) -> Comparison:
    return Comparison(
        group=name,
        test=None
        if row["p_value"] is None
        else HypothesisTest(
            statistic=row["statistic"],
            p_value=row["p_value"],
            log10_p_value=row["log10_p_value"],
            method=row["method"],
        ),
        anytime=None
        if row["anytime_p_value"] is None
        else AnytimeEvidence(
            relative_lift_interval=_interval(row, "anytime_relative_lift"), p_value=row["anytime_p_value"]
        ),
        absolute_lift=row["absolute_lift"],
        absolute_lift_interval=_interval(row, "absolute_lift"),
        relative_lift=row["relative_lift"],
        relative_lift_interval=_interval(row, "relative_lift"),
        power=row["power"],
    )


def _interval(row: Record, name: str) -> Interval | None:
    lower, upper = row[f"{name}_lower"], row[f"{name}_upper"]
    return None if lower is None else Interval(lower=lower, upper=upper)
