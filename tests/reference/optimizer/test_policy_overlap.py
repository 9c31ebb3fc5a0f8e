"""Policies judged where part of the deliveries could not get their offers, and where conversions are rare."""

import numpy as np
import pytest

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.policies.offer_policy import (
    OfferChoice,
    OfferPolicy,
    PolicyEvaluation,
    PolicyObjective,
    PolicyRule,
    evaluate_offer_policy,
)
from services.optimizer.domain.response.decision_table import NO_SEGMENTS, DecisionTable

MICROS = 1_000_000
OFFERS = np.array([10, 15, 20])
CHANCES = np.array([0.45, 0.45, 0.1])
ALWAYS_20 = OfferPolicy(
    rules=(PolicyRule(segment_name=None, choices=(OfferChoice(offer_micros=20 * MICROS, probability=1.0),)),)
)


def draw(rng: np.random.Generator, *, possible: int, impossible: int, rate: float) -> DecisionTable:
    """Deliveries of a campaign whose offers are drawn, and two a day of one that never draws a 20."""
    arm = np.concatenate((rng.choice(3, possible, p=CHANCES), rng.choice(2, impossible, p=[0.9, 0.1])))
    is_second = np.arange(possible + impossible) >= possible
    count = len(arm)
    day = np.concatenate((rng.integers(0, 60, possible), np.arange(impossible) // 2))
    nobody = np.zeros(count, dtype=np.intp)
    return DecisionTable(
        user=rng.integers(0, count // 2, count),
        campaign=is_second.astype(np.intp),
        version=nobody,
        day=day.astype(np.int64),
        weekday=(day % 7).astype(np.intp),
        hour=nobody + 12,
        segment_set=np.full(count, NO_SEGMENTS, dtype=np.int64),
        offer_micros=OFFERS[arm] * MICROS,
        propensity=np.where(is_second, np.array([0.9, 0.1, 0.0])[arm], CHANCES[arm]),
        conversions=(rng.random(count) < rate * (1 + is_second)).astype(np.int64),
        revenue_micros=np.zeros(count, dtype=np.int64),
    )


def evaluate(table: DecisionTable) -> PolicyEvaluation | None:
    """Return the evaluation; None where it is refused."""
    try:
        return evaluate_offer_policy(
            ALWAYS_20,
            table,
            {},
            objective=PolicyObjective.CONVERSIONS,
            margins=np.ones(2),
            minimum_overlap=0.9,
        )
    except FailedPreconditionError:
        return None


def test_deliveries_that_could_not_get_the_offer_are_found() -> None:
    # With 200 draws of the offer the weights' mean is known within 0.07, which a fifth missing may pass.
    rng = np.random.default_rng(20267)
    missing = [evaluate(draw(rng, possible=2000, impossible=500, rate=0.2)) for _ in range(25)]
    a_few = [evaluate(draw(rng, possible=2000, impossible=100, rate=0.2)) for _ in range(25)]
    assert missing == [None] * 25
    shares = [each.covered_share for each in a_few if each is not None]
    assert len(shares) >= 24
    assert shares == pytest.approx([2000 / 2100] * len(shares))


def test_values_of_rare_conversions_are_refused_or_held() -> None:
    # 4.5 conversions are expected at the offer, then 18: the first are refused, whatever was seen; of the
    # others nearly nine tenths of the intervals hold, and no value is chosen for having come out high.
    rng = np.random.default_rng(20268)
    assert [evaluate(draw(rng, possible=4500, impossible=0, rate=0.01)) for _ in range(15)] == [None] * 15
    found = [evaluate(draw(rng, possible=4500, impossible=0, rate=0.04)) for _ in range(60)]
    values = [each.value.doubly_robust for each in found if each is not None]
    assert len(values) >= 58
    held = [each.lower is not None and each.lower <= 0.04 <= (each.upper or 0.0) for each in values]
    assert np.mean(held) >= 0.8
    assert np.mean([each.value for each in values]) == pytest.approx(0.04, abs=0.004)
