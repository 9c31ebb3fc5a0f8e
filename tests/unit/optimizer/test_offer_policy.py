"""Where a proposed policy overlaps with what was logged, and when no value is given."""

from dataclasses import replace

import numpy as np
import pytest

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.decision_table import DecisionTable
from services.optimizer.domain.off_policy import (
    LoggedRewards,
    effective_sample_size,
    evaluate_policy,
    probability_above_zero,
)
from services.optimizer.domain.offer_policy import (
    OfferChoice,
    OfferPolicy,
    PolicyEvaluation,
    PolicyObjective,
    PolicyRule,
    evaluate_offer_policy,
    find_covered,
)

DOLLAR = 1_000_000
SEGMENTS = {1: ("loyal",), 2: ("lapsed", "city")}


def always(offer: int, segment: str | None = None) -> PolicyRule:
    return PolicyRule(
        segment_name=segment, choices=(OfferChoice(offer_micros=offer * DOLLAR, probability=1.0),)
    )


def log(
    rng: np.random.Generator, *, days: int = 4, a_day: int = 200, offers: tuple[int, ...] = (5, 10, 15)
) -> DecisionTable:
    """Offers drawn evenly, and on the last day from offers that are 10 higher; revenue 40 a conversion."""
    count = days * a_day
    day = np.repeat(np.arange(days), a_day)
    drawn = rng.integers(len(offers), size=count)
    offer = np.array(offers)[drawn] + 10 * (day == days - 1)
    bought = (rng.random(count) < 0.1 + 0.01 * offer).astype(np.int64)
    return DecisionTable(
        user=np.arange(count) % 500,
        campaign=np.zeros(count, dtype=np.intp),
        version=np.zeros(count, dtype=np.intp),
        day=day.astype(np.int64),
        weekday=(day % 7).astype(np.intp),
        hour=rng.integers(8, 22, count),
        segment_set=rng.integers(1, 3, count),
        offer_micros=(offer * DOLLAR).astype(np.int64),
        propensity=np.full(count, 1 / len(offers)),
        conversions=bought,
        revenue_micros=bought * 40 * DOLLAR,
    )


def evaluate(
    policy: OfferPolicy,
    table: DecisionTable,
    *,
    objective: PolicyObjective = PolicyObjective.PROFIT,
    margin: float = 1.0,
    minimum_overlap: float = 0.5,
) -> PolicyEvaluation:
    return evaluate_offer_policy(
        policy,
        table,
        SEGMENTS,
        objective=objective,
        margins=np.array([margin]),
        minimum_overlap=minimum_overlap,
    )


def test_the_first_rule_that_fits_holds() -> None:
    policy = OfferPolicy(rules=(always(5, "loyal"), always(10, "city"), always(15)))
    assert [policy.rule_for(names) for names in (("loyal", "city"), ("city",), ())] == [0, 1, 2]


def test_days_whose_offers_are_all_known_and_others_are_left_out() -> None:
    table = log(np.random.default_rng(1))
    policy = OfferPolicy(rules=(always(10),))
    covered = find_covered(policy, table, np.zeros(len(table), dtype=np.intp))
    assert covered.tolist() == (table.day < 3).tolist()
    evaluation = evaluate(policy, table)
    assert evaluation.covered_share == pytest.approx(0.75)
    assert evaluation.decisions == 800
    assert evaluation.value.decisions == 600
    assert "75.0%" in evaluation.warnings[0]
    assert [offer.offer_micros // DOLLAR for offer in evaluation.logged_offers] == [5, 10, 15, 20, 25]


def test_a_day_of_which_not_all_offers_were_seen_stays() -> None:
    table = log(np.random.default_rng(2), offers=(5, 10, 15))
    some = table.take(~((table.day == 3) & (table.offer_micros == 25 * DOLLAR)))
    covered = find_covered(OfferPolicy(rules=(always(10),)), some, np.zeros(len(some), dtype=np.intp))
    assert covered.all()


def test_propensities_that_differ_within_a_day_prove_nothing_impossible() -> None:
    table = log(np.random.default_rng(2))
    propensity = np.where(np.arange(len(table)) % 2 == 0, table.propensity, 0.2)
    mixed = replace(table, propensity=propensity)
    covered = find_covered(OfferPolicy(rules=(always(10),)), mixed, np.zeros(len(mixed), dtype=np.intp))
    assert covered.all()


def test_each_segment_is_judged_by_its_own_offers() -> None:
    table = log(np.random.default_rng(3))
    policy = OfferPolicy(rules=(always(15, "loyal"), always(10)))
    rule = (table.segment_set == 2).astype(np.intp)
    covered = find_covered(policy, table, rule)
    # 15 is drawn on every day (5 + 10 on the last), 10 on all but the last.
    assert covered.tolist() == ((table.day < 3) | (table.segment_set == 1)).tolist()


def test_too_little_overlap_is_refused_and_says_what_was_logged() -> None:
    with pytest.raises(FailedPreconditionError, match=r"75\.0%.*90\.0%.*5 \(.*") as refused:
        evaluate(OfferPolicy(rules=(always(10),)), log(np.random.default_rng(1)), minimum_overlap=0.9)
    assert refused.value.reason == "OVERLAP_MISSING"


def test_an_offer_that_was_never_drawn_is_refused() -> None:
    with pytest.raises(FailedPreconditionError, match=r"0\.0% of") as refused:
        evaluate(OfferPolicy(rules=(always(12),)), log(np.random.default_rng(1)), minimum_overlap=0.001)
    assert refused.value.reason == "OVERLAP_MISSING"


def test_an_offer_that_was_never_drawn_where_nothing_is_known_is_refused() -> None:
    table = log(np.random.default_rng(1))
    table = replace(table, propensity=np.full(len(table), 0.2))
    with pytest.raises(FailedPreconditionError, match="none of its offers was ever drawn"):
        evaluate(OfferPolicy(rules=(always(12),)), table)


def test_few_effective_decisions_are_refused() -> None:
    table = log(np.random.default_rng(4), days=2, a_day=60)
    with pytest.raises(FailedPreconditionError, match="effective sample size"):
        evaluate(OfferPolicy(rules=(always(10),)), table)


def test_propensities_that_cannot_be_true_are_refused() -> None:
    table = log(np.random.default_rng(5), days=5)
    table = replace(table, propensity=np.full(len(table), 0.6))
    with pytest.raises(FailedPreconditionError, match=r"the weights average 0\.\d+"):
        evaluate(OfferPolicy(rules=(always(10),)), table.take(table.day < 4))


def test_what_counts_is_what_was_asked_for() -> None:
    table = log(np.random.default_rng(6), days=8)
    policy = OfferPolicy(rules=(always(15),))
    values = {
        objective: evaluate(policy, table, objective=objective, margin=0.5).value
        for objective in PolicyObjective
    }
    conversions = values[PolicyObjective.CONVERSIONS].snips.value
    assert values[PolicyObjective.REVENUE].snips.value == pytest.approx(40 * conversions)
    assert values[PolicyObjective.PROFIT].snips.value == pytest.approx((0.5 * 40 - 15) * conversions)


def test_revenue_needs_revenue() -> None:
    table = log(np.random.default_rng(6))
    table = replace(table, revenue_micros=np.zeros(len(table), dtype=np.int64))
    with pytest.raises(FailedPreconditionError) as refused:
        evaluate(OfferPolicy(rules=(always(10),)), table)
    assert refused.value.reason == "REVENUE_UNKNOWN"
    assert evaluate(OfferPolicy(rules=(always(10),)), table, objective=PolicyObjective.CONVERSIONS)


def test_weights_somewhat_off_are_told() -> None:
    table = log(np.random.default_rng(8), days=60)
    table = replace(table, propensity=np.full(len(table), 0.35))
    evaluation = evaluate(OfferPolicy(rules=(always(10),)), table.take(table.day < 59))
    assert any("weights average 0.9" in warning for warning in evaluation.warnings)


def test_one_user_has_no_interval_and_no_confidence() -> None:
    ones = np.ones(3)
    value = evaluate_policy(
        LoggedRewards(
            user=np.zeros(3, dtype=np.intp),
            weight=ones,
            reward=np.array([1.0, 2.0, 3.0]),
            predicted=ones,
            predicted_for_policy=ones,
        )
    )
    assert value.ips.value == pytest.approx(2.0)
    assert (value.ips.lower, value.ips.standard_error, value.confidence) == (None, None, None)
    assert probability_above_zero(value.improvement, 1.0) is None
    assert effective_sample_size(np.zeros(3)) == 0.0
