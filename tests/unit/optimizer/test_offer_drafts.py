"""What is said of an offer that is recommended: the money, and nothing that has no interval."""

from dataclasses import replace

import numpy as np
import pytest

from services.optimizer.domain.objectives import Economics
from services.optimizer.domain.offers.answer import Interval, OfferAnswer, answer_offer
from services.optimizer.domain.offers.recommendation import Comparison
from services.optimizer.domain.recommendations.offer_drafts import draft_offer
from services.optimizer.domain.recommendations.recommendations import Draft
from tests.unit.optimizer.test_offer_answer import UNIT, case, parameters


def answered(economics: Economics, current: int = 9 * UNIT) -> OfferAnswer:
    asked = case(current=current)
    asked = replace(asked, currency_code="EUR", question=replace(asked.question, economics=economics))
    return answer_offer(asked, np.full(42, 0.1), parameters({0.9: 1.6}), model_version=3)


def compared(answer: OfferAnswer) -> Comparison:
    assert answer.recommendation.comparison is not None
    return answer.recommendation.comparison


def drafted(answer: OfferAnswer, comparison: Comparison | None) -> Draft:
    draft = draft_offer(replace(answer, recommendation=replace(answer.recommendation, comparison=comparison)))
    assert isinstance(draft, Draft)
    return draft


KNOWN = Economics(mean_revenue=11.3, gross_margin_rate=0.8)


def test_an_offer_is_told_with_its_money_even_where_no_percentage_is() -> None:
    answer = answered(KNOWN)
    comparison = replace(compared(answer), confidence=0.95)
    assert comparison.improvement is None
    assert comparison.gain is not None
    draft = drafted(answer, comparison)
    lower, upper = comparison.gain.interval
    gain = f"{comparison.gain.value:+.2f} EUR profit per view ({lower:+.2f} to {upper:+.2f})"
    assert draft.text == f"Offer 6.00 EUR instead of 9.00 EUR: {gain}."
    assert (draft.effect, draft.interval) == (None, None)
    assert draft.evidence.startswith(
        "A conversion brings 11.30 EUR on average, 80.0% of it gross margin. The"
    )
    assert "profit per view is expected to be " in draft.evidence  # of the warning
    assert draft.evidence.count("on nine days in ten") == 2


def test_what_has_no_interval_is_not_told() -> None:
    answer = answered(KNOWN)
    comparison = replace(compared(answer), confidence=0.95, gain=None)
    assert drafted(answer, comparison).text == "Offer 6.00 EUR instead of 9.00 EUR."
    unsure = replace(answer, interval=None, current_interval=Interval(lower=0.1, upper=0.2))
    assert "(no interval can be given) instead of " in drafted(unsure, comparison).evidence
    alone = drafted(answer, None)
    assert alone.text == "Offer 6.00 EUR instead of 9.00 EUR."
    assert alone.evidence == " ".join(answer.warnings)


@pytest.mark.parametrize(("revenue", "current"), [(10.0, 9), (14.0, 9), (30.0, 6), (300.0, 6)])
def test_a_gain_lies_in_its_interval_or_is_not_told(revenue: float, current: int) -> None:
    """Where nobody knows a margin the point takes all revenue, the interval what any margin makes of it."""
    answer = answered(Economics(mean_revenue=revenue, gross_margin_rate=None), current=current * UNIT)
    comparison = compared(answer)
    assert comparison.gain is not None
    for gain in (comparison.gain, comparison.improvement):
        assert gain is None or gain.interval[0] < gain.value < gain.interval[1]
    assert "gross margin. The" not in drafted(answer, replace(comparison, confidence=0.95)).evidence
