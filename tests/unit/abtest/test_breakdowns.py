"""What an analysis says by segment and over time, and of events that are gone."""

import json
import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from services.abtest.domain.analysis import Analysis, analyze
from services.abtest.domain.metrics import (
    CONVERSION_RATE,
    MetricRole,
)
from services.abtest.domain.model import (
    DecisionMethod,
    GroupCounts,
)
from services.abtest.domain.outcomes import Outcomes, SegmentCell, merge_samples
from services.abtest.domain.samples import CovariateSample, MeanSample, RatioSample, Stratum
from services.abtest.domain.verdicts import Verdict
from services.abtest.store.documents import from_document, to_document
from tests.abtest_factories import conversion_outcomes, design, epoch
from tests.unit.abtest.analyses import CTR, REVENUE_PER_USER, single


def cells(*counted: tuple[set[str], tuple[int, int], tuple[int, int]]) -> tuple[SegmentCell, ...]:
    """Cells of one epoch, each of (conversions, users) per group."""
    return tuple(
        SegmentCell(
            epoch=1,
            weights=(0.5, 0.5),
            segments=frozenset(names),
            users=(control[1], variant[1]),
            samples=tuple(
                GroupCounts(users=users, conversions=conversions) for conversions, users in (control, variant)
            ),
        )
        for names, control, variant in counted
    )


def test_segments_overlap_and_their_interactions_do_not() -> None:
    found = cells(
        ({"new"}, (100, 1000), (180, 1000)),
        ({"new", "vip"}, (50, 500), (90, 500)),
        ({"vip"}, (150, 1000), (110, 1000)),
        (set(), (30, 300), (33, 300)),
    )
    outcomes = conversion_outcomes([epoch((330, 2800), (413, 2800))])
    result = analyze(design(), replace(outcomes, cells=found), ended=False)
    assert result.segments is not None
    assert [(each.name, each.groups[0].users) for each in result.segments.segments] == [
        ("new", 1500),
        ("vip", 1500),
        ("", 300),
    ]
    vip = result.segments.segments[1]
    assert vip.groups[1].value == pytest.approx(200 / 1500)
    assert vip.comparisons[0].adjusted_p_value is not None
    assert result.segments.interaction_p_value is not None
    assert result.segments.interaction_p_value < 1e-4
    assert any("the effect on segment new differs" in warning for warning in result.warnings)
    assert [each.name for each in result.sample_ratios] == ["", "new", "vip", ""]


def test_a_segment_that_lost_its_variant_is_a_mismatch_of_its_own() -> None:
    found = cells(({"ios"}, (100, 1000), (70, 700)), ({"web"}, (100, 1000), (130, 1300)))
    outcomes = conversion_outcomes([epoch((200, 2000), (200, 2000))])
    result = analyze(design(), replace(outcomes, cells=found), ended=False)
    assert result.decision.verdict is not Verdict.INVALID
    assert any("sample-ratio mismatch in segment ios" in warning for warning in result.warnings)


def test_one_segment_of_all_users_is_warned_of_once_and_is_not_everybody() -> None:
    everybody = conversion_outcomes([epoch((100, 1000), (116, 1160))])
    alone = analyze(design(), replace(everybody, cells=cells((set(), (100, 1000), (116, 1160)))), ended=True)
    assert sum("fit their weights poorly" in warning for warning in alone.warnings) == 1
    assert [each.scope for each in alone.sample_ratios] == ["overall"]
    lost = replace(
        conversion_outcomes([epoch((200, 2000), (200, 2000))]),
        cells=cells((set(), (100, 1200), (80, 800)), ({"new"}, (100, 800), (120, 1200))),
    )
    warnings = analyze(design(), lost, ended=True).warnings
    assert any(warning.startswith("sample-ratio mismatch in segment (none)") for warning in warnings)
    assert not any("so no winner is named" in warning for warning in warnings)


def test_means_have_segments_too(values: np.random.Generator) -> None:
    metric = replace(REVENUE_PER_USER, role=MetricRole.PRIMARY, covariate_days=7)
    found = []
    for name, shift in (("new", 5.0), ("old", -5.0)):
        samples = []
        for effect in (0.0, shift):
            past = values.normal(20.0, 5.0, size=300)
            samples.append(CovariateSample.from_values(past + effect + values.normal(0.0, 2.0, 300), past))
        found.append(
            SegmentCell(
                epoch=1,
                weights=(0.5, 0.5),
                segments=frozenset({name}),
                users=(300, 300),
                samples=tuple(samples),
            )
        )
    total = [merge_samples([cell.samples[index] for cell in found]) for index in range(2)]
    outcomes = Outcomes(
        epochs=(epoch((1, 600), (1, 600)),), metrics=(single(metric, *total),), cells=tuple(found)
    )
    result = analyze(replace(design(), metrics=(metric,)), outcomes, ended=False)
    assert result.segments is not None
    assert result.segments.interaction_p_value is not None
    assert result.segments.interaction_p_value < 1e-6
    assert [(each.segment, each.metric) for each in result.past] == [
        (None, "revenue_per_user"),
        ("new", "revenue_per_user"),
        ("old", "revenue_per_user"),
    ]


@pytest.mark.parametrize(("lifts", "pattern"), [((2.0, 1.5, 1.0, 1.0), "novelty"), ((1.2,) * 4, "stable")])
def test_an_effect_that_fades_is_told(lifts: tuple[float, ...], pattern: str) -> None:
    days = tuple(
        Stratum(
            label=str(day),
            groups=(
                GroupCounts(users=10_000, conversions=500),
                GroupCounts(users=10_000, conversions=round(500 * lift)),
            ),
        )
        for day, lift in enumerate(lifts)
    )
    outcomes = replace(conversion_outcomes([epoch((2000, 10_000), (2700, 10_000))]), days=days)
    result = analyze(design(), outcomes, ended=False)
    assert result.days is not None
    assert (result.days.pattern, len(result.days.days)) == (pattern, 4)
    assert result.days.trend_p_value is not None
    assert any("fades" in warning for warning in result.warnings) is (pattern == "novelty")


def test_no_verdict_where_events_are_gone() -> None:
    gone = replace(
        conversion_outcomes([epoch((100, 1000), (300, 1000))]),
        incomplete_until=datetime(2026, 3, 2, tzinfo=UTC),
    )
    result = analyze(design(), gone, ended=True)
    assert (result.decision.verdict, result.decision.winner) == (Verdict.INVALID, None)
    assert "events before 2026-03-02 are kept as totals only" in result.decision.reasons[0]


def test_an_open_window_is_told() -> None:
    outcomes = replace(conversion_outcomes([epoch((100, 1000), (103, 1000))]), matured=False)
    assert any(
        "window is still open" in warning for warning in analyze(design(), outcomes, ended=False).warnings
    )


def test_a_whole_analysis_comes_back_from_its_document(values: np.random.Generator) -> None:
    metric = replace(REVENUE_PER_USER, covariate_days=7, window=timedelta(hours=30))
    guardrail = replace(CTR, role=MetricRole.GUARDRAIL, non_inferiority_margin=0.05)
    amounts = [values.normal(9.0, 2.0, size=(2, 50)) for _ in range(2)]
    outcomes = replace(
        conversion_outcomes([epoch((0, 50), (50, 50))]),
        metrics=(
            *conversion_outcomes([epoch((0, 50), (50, 50))]).metrics,
            single(metric, *(CovariateSample.from_values(*each) for each in amounts)),
            single(
                guardrail,
                *(
                    RatioSample(
                        numerator=MeanSample.from_values(each[0]),
                        denominator=MeanSample.from_values(each[1]),
                        cross_deviations=1.0,
                    )
                    for each in amounts
                ),
            ),
        ),
        cells=cells(({"new"}, (0, 50), (50, 50))),
        days=(Stratum(label="0", groups=(GroupCounts(users=50), GroupCounts(users=50, conversions=50))),),
    )
    result = analyze(
        replace(
            design(decision_method=DecisionMethod.GROUP_SEQUENTIAL, target_sample_size=50),
            metrics=(CONVERSION_RATE, metric, guardrail),
        ),
        outcomes,
        ended=True,
    )
    assert result.decision.look is not None
    assert result.metrics[2].comparisons[0].non_inferiority_p_value is not None
    assert from_document(Analysis, json.loads(json.dumps(to_document(result)))) == result


def test_documents_take_what_json_lacks_and_refuse_the_rest() -> None:
    assert to_document((math.inf, timedelta(minutes=1), datetime(2026, 1, 1, tzinfo=UTC), {})[:3]) == [
        "inf",
        60.0,
        "2026-01-01T00:00:00+00:00",
    ]
    with pytest.raises(TypeError, match="bytes has no place"):
        to_document(b"")


def test_ratios_have_segments_without_a_simpson_of_their_own() -> None:
    metric = replace(CTR, role=MetricRole.PRIMARY)
    samples = tuple(
        RatioSample(
            numerator=MeanSample(users=500, total=total, squared_deviations=total * 0.8),
            denominator=MeanSample(users=500, total=500.0, squared_deviations=20.0),
        )
        for total in (100.0, 140.0)
    )
    cell = SegmentCell(
        epoch=1, weights=(0.5, 0.5), segments=frozenset({"new"}), users=(500, 500), samples=samples
    )
    other = replace(cell, segments=frozenset({"old"}))
    total = [merge_samples([each.samples[index] for each in (cell, other)]) for index in range(2)]
    outcomes = Outcomes(
        epochs=(epoch((0, 1000), (0, 1000)),), metrics=(single(metric, *total),), cells=(cell, other)
    )
    result = analyze(replace(design(), metrics=(metric,)), outcomes, ended=False)
    assert result.segments is not None
    assert [each.comparisons[0].relative_lift for each in result.segments.segments] == [
        pytest.approx(0.4)
    ] * 2
    assert result.segments.interaction_p_value == pytest.approx(1.0)
    assert not any("Simpson" in warning for warning in result.warnings)


def test_a_document_of_an_unknown_type_is_refused() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Odd:
        value: bytes

    with pytest.raises(TypeError, match="no document holds"):
        from_document(Odd, {"value": "x"})
