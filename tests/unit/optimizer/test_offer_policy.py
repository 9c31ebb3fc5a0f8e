"""Where a proposed policy overlaps with what was logged, and when no value is given."""

from dataclasses import replace

import numpy as np
import pytest

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.policies.margins import LIKELY_MARGINS
from services.optimizer.domain.policies.off_policy import (
    LoggedRewards,
    effective_sample_size,
    evaluate_policy,
    probability_above_zero,
)
from services.optimizer.domain.policies.offer_policy import (
    OfferChoice,
    OfferPolicy,
    PolicyEvaluation,
    PolicyObjective,
    PolicyRule,
    evaluate_offer_policy,
)
from services.optimizer.domain.response.decision_table import DecisionTable
from services.optimizer.domain.response.offer_overlap import find_covered, find_regimes

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


def test_a_margin_that_nobody_knows_makes_no_confidence() -> None:
    """Two of the three offers lie near the break-even of some margin: all of them must speak."""
    table = log(np.random.default_rng(11), days=8)
    table = replace(table, campaign=(np.arange(len(table)) % 2).astype(np.intp))
    policy = OfferPolicy(rules=(always(15),))

    def judge(margin: float, *, assumed: bool) -> PolicyEvaluation:
        return evaluate_offer_policy(
            policy,
            table,
            SEGMENTS,
            objective=PolicyObjective.PROFIT,
            margins=np.array([0.5, margin]),
            minimum_overlap=0.5,
            is_margin_assumed=np.array([False, assumed]),
        )

    by_margin = [judge(margin, assumed=False).value.confidence for margin in LIKELY_MARGINS.tolist()]
    assumed, known = judge(1.0, assumed=True), judge(1.0, assumed=False)
    assert assumed.value.confidence == pytest.approx(np.mean([each for each in by_margin if each]), abs=1e-9)
    assert known.value.confidence is not None
    assert assumed.value.confidence is not None
    assert assumed.value.confidence < known.value.confidence - 0.1
    assert replace(assumed.value, confidence=None) == replace(known.value, confidence=None)


def test_the_first_rule_that_fits_holds() -> None:
    policy = OfferPolicy(rules=(always(5, "loyal"), always(10, "city"), always(15)))
    assert [policy.rule_for(names) for names in (("loyal", "city"), ("city",), ())] == [0, 1, 2]


def test_days_whose_offers_are_all_known_and_others_are_left_out() -> None:
    table = log(np.random.default_rng(1))
    policy = OfferPolicy(rules=(always(10),))
    covered = find_covered(policy.offers, table, np.zeros(len(table), dtype=np.intp))
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
    covered = find_covered(OfferPolicy(rules=(always(10),)).offers, some, np.zeros(len(some), dtype=np.intp))
    assert covered.all()


def test_propensities_that_differ_within_a_day_prove_nothing_impossible() -> None:
    table = log(np.random.default_rng(2))
    propensity = np.where(np.arange(len(table)) % 2 == 0, table.propensity, 0.2)
    mixed = replace(table, propensity=propensity)
    covered = find_covered(
        OfferPolicy(rules=(always(10),)).offers, mixed, np.zeros(len(mixed), dtype=np.intp)
    )
    assert covered.all()


def test_each_segment_is_judged_by_its_own_offers() -> None:
    table = log(np.random.default_rng(3))
    policy = OfferPolicy(rules=(always(15, "loyal"), always(10)))
    rule = (table.segment_set == 2).astype(np.intp)
    covered = find_covered(policy.offers, table, rule)
    # 15 is drawn on every day (5 + 10 on the last), 10 on all but the last.
    assert covered.tolist() == ((table.day < 3) | (table.segment_set == 1)).tolist()


def test_too_little_overlap_is_refused_and_says_what_was_logged() -> None:
    with pytest.raises(FailedPreconditionError, match=r"75\.0%.*90\.0%.*5 \(.*") as refused:
        evaluate(OfferPolicy(rules=(always(10),)), log(np.random.default_rng(1)), minimum_overlap=0.9)
    assert refused.value.reason == "OVERLAP_MISSING"
    assert refused.value.metadata == {"covered_share": "0.75", "minimum_overlap": "0.9"}
    assert "ask with a minimum_overlap of at most 0.75 for" in refused.value.message


def test_an_offer_that_was_never_drawn_is_refused() -> None:
    with pytest.raises(FailedPreconditionError, match=r"12 was never drawn, which at 100\.0% of") as refused:
        evaluate(OfferPolicy(rules=(always(12),)), log(np.random.default_rng(1)), minimum_overlap=0.001)
    assert refused.value.reason == "OVERLAP_MISSING"
    assert "so that 0.0% are left" in refused.value.message


def test_where_too_little_was_drawn_an_offer_that_never_was_is_not_called_possible() -> None:
    table = log(np.random.default_rng(1))
    last = table.day == table.day.max()
    few = replace(
        table, version=np.where(last, 99, table.version), propensity=np.where(last, 0.07, table.propensity)
    )
    with pytest.raises(FailedPreconditionError, match=r"never drawn, which at \d\d\.\d% of") as refused:
        evaluate(OfferPolicy(rules=(always(12),)), few, minimum_overlap=0.5)
    assert "too few offers were drawn to show it" in refused.value.message
    assert "are left" not in refused.value.message
    assert "minimum_overlap of at most" not in refused.value.message


def test_an_offer_that_was_never_drawn_where_nothing_is_known_is_refused() -> None:
    table = log(np.random.default_rng(1))
    table = replace(table, propensity=np.full(len(table), 0.3))
    with pytest.raises(FailedPreconditionError, match="none of its offers was ever drawn"):
        evaluate(OfferPolicy(rules=(always(12),)), table)


def test_few_effective_decisions_are_refused() -> None:
    table = log(np.random.default_rng(4), days=2, a_day=60)
    with pytest.raises(FailedPreconditionError, match="effective sample size"):
        evaluate(OfferPolicy(rules=(always(10),)), table)


def test_days_that_share_a_draw_know_their_offers_together() -> None:
    # Days of two draws from 5 (0.9) and 15 (0.1) bring 15 seldom; days of 5 and 10 (0.5) are another regime.
    table = log(np.random.default_rng(9), days=30, a_day=2, offers=(5, 15))
    table = table.take(table.day < 29)
    table = replace(table, propensity=np.where(table.offer_micros == 5 * DOLLAR, 0.9, 0.1))
    is_other = table.day >= 20
    offer = np.where(is_other & (table.offer_micros == 15 * DOLLAR), 10 * DOLLAR, table.offer_micros)
    mixed = replace(table, offer_micros=offer, propensity=np.where(is_other, 0.5, table.propensity))
    rule = np.zeros(len(table), dtype=np.intp)
    days = find_regimes(mixed.day.astype(np.intp), rule, mixed)
    assert len(set(days[~is_other].tolist())) == len(set(days[is_other].tolist())) == 1
    assert find_covered([[10 * DOLLAR]], mixed, rule).tolist() == is_other.tolist()
    assert find_covered([[5 * DOLLAR, 15 * DOLLAR]], mixed, rule).tolist() == (~is_other).tolist()


def test_segments_whose_offers_are_known_are_left_out_on_their_own() -> None:
    # Loyal users get 5 or 10, the others 5 or 15, all with 1 / 2.
    table = log(np.random.default_rng(10), days=3, offers=(5, 10))
    table = table.take(table.day < 2)
    other = (table.segment_set == 2) & (table.offer_micros == 10 * DOLLAR)
    table = replace(table, offer_micros=np.where(other, 15 * DOLLAR, table.offer_micros))
    covered = find_covered([[15 * DOLLAR]], table, np.zeros(len(table), dtype=np.intp))
    assert covered.tolist() == (table.segment_set == 2).tolist()


def test_a_campaign_that_never_drew_an_offer_could_not() -> None:
    # Propensities of the second campaign vary, so they do not tell; 400 deliveries without a 15 do.
    table = log(np.random.default_rng(11), days=5)
    table = table.take((table.day < 4) & ((table.day < 2) | (table.offer_micros < 15 * DOLLAR)))
    second = table.day >= 2
    varied = np.where(np.arange(len(table)) % 2 == 0, 0.3, 0.4)
    table = replace(
        table, campaign=second.astype(np.intp), propensity=np.where(second, varied, table.propensity)
    )
    rule = np.zeros(len(table), dtype=np.intp)
    assert find_covered([[15 * DOLLAR]], table, rule).tolist() == (~second).tolist()
    few = table.take(~second | (np.cumsum(second) <= 5))
    assert find_covered([[15 * DOLLAR]], few, rule[: len(few)]).all()


def test_few_conversions_are_refused_and_somewhat_more_are_told() -> None:
    table = log(np.random.default_rng(12), days=5)
    table = table.take(table.day < 4)
    policy, at_10 = OfferPolicy(rules=(always(10),)), np.flatnonzero(table.offer_micros == 10 * DOLLAR)

    def converting(here: int, elsewhere: int) -> DecisionTable:
        conversions = np.zeros(len(table), dtype=np.int64)
        conversions[at_10[:here]] = 1
        conversions[np.setdiff1d(np.arange(len(table)), at_10)[:elsewhere]] = 1
        return replace(table, conversions=conversions, revenue_micros=conversions * 40 * DOLLAR)

    for rare in (converting(0, 200), converting(9, 3)):
        with pytest.raises(FailedPreconditionError, match="too few conversions") as refused:
            evaluate(policy, rare)
        assert refused.value.reason == "DATA_INSUFFICIENT"
    few, many = evaluate(policy, converting(15, 30)), evaluate(policy, converting(40, 80))
    assert ["with so few," in " ".join(each.warnings) for each in (few, many)] == [True, False]


def test_weights_that_cannot_tell_are_told() -> None:
    table = log(np.random.default_rng(13), days=3, a_day=300, offers=(5, 5, 5, 5, 5, 5, 5, 10))
    table = table.take(table.day < 2)
    table = replace(table, propensity=np.where(table.offer_micros == 5 * DOLLAR, 7 / 8, 1 / 8))
    evaluation = evaluate(OfferPolicy(rules=(always(10),)), table)
    assert any("alone would not show" in warning for warning in evaluation.warnings)


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


def test_rewards_that_do_not_vary_have_no_interval() -> None:
    count = 6
    value = evaluate_policy(
        LoggedRewards(
            user=np.arange(count),
            weight=np.array([2.0, 0.0] * 3),
            reward=np.array([0.0, 1.0] * 3),
            predicted=np.zeros(count),
            predicted_for_policy=np.zeros(count),
        )
    )
    assert (value.ips.value, value.ips.standard_error, value.ips.lower) == (0.0, None, None)
    assert value.logged.standard_error is not None


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
    assert probability_above_zero(ones, np.zeros(3, dtype=np.intp)) is None
    assert effective_sample_size(np.zeros(3)) == 0.0
