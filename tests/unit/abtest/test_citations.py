"""Every method an analysis may name has its source."""

import pytest

from services.abtest.domain.citations import CITATIONS, cite, list_number_methods
from services.abtest.domain.covariates import CUPED, CUPED_WINSORIZED, adjust_by_covariate
from services.abtest.domain.estimates import compare_estimates
from services.abtest.domain.interactions import compare_effects, estimate_log_rate_ratio
from services.abtest.domain.means import compare_means
from services.abtest.domain.metrics import MetricKind
from services.abtest.domain.model import DecisionMethod, GroupCounts
from services.abtest.domain.poststratification import PREFIX
from services.abtest.domain.proportions import compare_proportions
from services.abtest.domain.ratios import compare_ratios
from services.abtest.domain.samples import CovariateSample, MeanSample, RatioSample, Stratum
from services.abtest.domain.stratified_rates import compare_stratified


def counts(conversions: int, users: int) -> GroupCounts:
    return GroupCounts(users=users, conversions=conversions)


def methods_of_tests() -> list[str]:
    """The names that the domain's own comparisons give."""
    few, many = (counts(1, 20), counts(4, 20)), (counts(30, 100), counts(40, 100))
    strata = [Stratum(label=str(number), groups=many) for number in range(2)]
    thin = [Stratum(label=str(number), groups=(counts(1, 20), counts(2, 20))) for number in range(2)]
    means = [MeanSample.from_values(values) for values in ([1.0, 2.0, 4.0], [2.0, 3.0, 7.0])]
    ratios = [
        RatioSample.from_values(values, [2.0, 3.0, 5.0]) for values in ([1.0, 2.0, 4.0], [2.0, 2.0, 5.0])
    ]
    past = CovariateSample.from_values([1.0, 2.0, 4.0, 4.0], [0.0, 1.0, 2.0, 4.0])
    adjustment = adjust_by_covariate([Stratum(label="1", groups=(past, past))])
    effect = estimate_log_rate_ratio(*many)
    assert adjustment is not None
    assert effect is not None
    tests = [
        compare_proportions(*few),
        compare_proportions(*many),
        compare_proportions(*many, yates=True),
        compare_stratified(strata, 1),
        compare_stratified(thin, 1),
        compare_means(*means, confidence_level=0.95).test,
        compare_means(*means, confidence_level=0.95, winsorized=True).test,
        compare_ratios(*ratios, confidence_level=0.95).test,
        compare_effects([effect, effect]),
        *(
            compare_estimates(*adjustment.strata[0].groups, confidence_level=0.95, method=method).test
            for method in (CUPED, CUPED_WINSORIZED)
        ),
    ]
    found = [test.method for test in tests if test is not None]
    assert len(found) == len(tests) == len(set(found))
    return found


def test_every_test_s_method_has_a_source_also_when_stratified() -> None:
    for method in methods_of_tests():
        assert cite(method)
        assert cite(PREFIX + method).startswith(cite(method))
    with pytest.raises(KeyError):
        cite("made_up")


@pytest.mark.parametrize("kind", list(MetricKind))
@pytest.mark.parametrize("decision_method", list(DecisionMethod))
def test_every_number_of_an_analysis_has_its_method(
    kind: MetricKind, decision_method: DecisionMethod
) -> None:
    methods = list_number_methods(
        kind,
        decision_method=decision_method,
        test_method="welch_t",
        posterior_method="normal_flat_prior",
    )
    by_field = {each.field: each for each in methods}
    assert len(by_field) == len(methods)
    assert by_field["verdict"].method == decision_method.label
    assert by_field["p_value"].citation == CITATIONS["welch_t"]
    assert by_field["probability_to_beat_control"].method == "normal_flat_prior"
    rate = kind is MetricKind.PROPORTION
    assert (by_field["absolute_lift_interval"].method == "newcombe_hybrid_score") == rate
    assert by_field["relative_lift_interval"].method == (
        "katz_log_ratio" if rate else "delta_method_log_ratio"
    )
    assert "stratified_relative_lift_interval" not in by_field


@pytest.mark.parametrize("test_method", ["cochran_stratified", "exact_stratified"])
def test_rates_compared_within_epochs_have_stratified_methods(test_method: str) -> None:
    methods = list_number_methods(
        MetricKind.PROPORTION, decision_method=DecisionMethod.ANYTIME, test_method=test_method
    )
    by_field = {each.field: each.method for each in methods}
    assert by_field["absolute_lift_interval"] == "post_stratified_welch_t"
    assert by_field["relative_lift_interval"] == "post_stratified_log_ratio"
    assert by_field["stratified_relative_lift_interval"] == "post_stratified_log_ratio"


def test_what_is_unset_has_no_method() -> None:
    fields = {
        each.field for each in list_number_methods(MetricKind.MEAN, decision_method=DecisionMethod.ANYTIME)
    }
    assert not fields & {"p_value", "absolute_lift_interval", "probability_to_beat_control"}


def test_sources_name_authors_and_years() -> None:
    for method, source in CITATIONS.items():
        assert any(f"({year})" in source for year in range(1763, 2027)), method
