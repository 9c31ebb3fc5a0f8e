"""From what the estimates of offers say to the offer that is recommended, in words."""

from collections.abc import Iterator
from typing import Final

from services.optimizer.domain.features import MICROS_PER_UNIT
from services.optimizer.domain.offers.answer import Interval, OfferAnswer
from services.optimizer.domain.offers.recommendation import Comparison, OfferRecommendation
from services.optimizer.domain.offers.warnings import say_values
from services.optimizer.domain.recommendations.recommendations import (
    MINIMUM_OFFER_CONFIDENCE,
    Draft,
    RecommendationType,
    Withheld,
)
from services.optimizer.domain.recommendations.withholding import (
    Prospect,
    money,
    say_unsure,
    withhold_constrained,
    withhold_unsure,
)
from services.optimizer.domain.response.offer_odds import CONFIDENCE_METHOD

SMALLEST_OFFER_GAIN: Final = 0.02
"""What must be gained of profit per view to matter: expected of what is recommended, else it is withheld."""


def draft_offer(answer: OfferAnswer) -> Draft | Withheld:
    """Return the offer to make, where it differs from the current one and is likely enough to earn more.

    The answer's objective is profit: by conversion rate the dearest offer nearly always is the best.
    """
    recommended, comparison = answer.recommendation, answer.recommendation.comparison
    current, currency = recommended.current_offer_micros, answer.case.currency_code
    if current is not None and current == recommended.offer_micros:
        return _withhold_change(
            f"The current offer, {money(current, currency)}, is expected to be the best", comparison
        )
    if comparison is not None and not _matters(recommended, comparison):
        if recommended.broken_by_current:
            return withhold_constrained(recommended, comparison, currency)
        best = money(recommended.offer_micros, currency)
        size = "" if comparison.improvement is None else f", {comparison.improvement.value:+.1%}"
        matters = f"{SMALLEST_OFFER_GAIN:.0%} profit per view"
        said = say_unsure(f"{best}{size}", comparison.confidence, MINIMUM_OFFER_CONFIDENCE, gain=matters)
        return _withhold_change(said, comparison)
    gained = comparison.improvement if comparison is not None else None
    instead = "" if current is None else f" instead of {money(current, currency)}"
    return Draft(
        type=RecommendationType.OFFER_AMOUNT,
        choice=f"{recommended.offer_micros / MICROS_PER_UNIT:g}",
        text=f"Offer {money(recommended.offer_micros, currency)}{instead}{_say_gain(answer)}.",
        effect=None if gained is None else gained.value,
        interval=None if gained is None else Interval(lower=gained.interval[0], upper=gained.interval[1]),
        effect_metric="profit_per_view",
        confidence=None if comparison is None else comparison.confidence,
        confidence_method="" if comparison is None else CONFIDENCE_METHOD,
        evidence=" ".join([*_say_terms(answer), *answer.warnings]),
        evidence_kind=answer.evidence.kind.value,
        model_version=answer.model_version,
        offer_micros=recommended.offer_micros,
        previous_offer_micros=current,
        predicted_rate=recommended.conversion_rate,
        predicted_interval=answer.interval,
        previous_rate=None if comparison is None else comparison.conversion_rate,
    )


def _say_gain(answer: OfferAnswer) -> str:
    """Return what is gained per view, as an amount."""
    comparison, currency = answer.recommendation.comparison, answer.case.currency_code
    if comparison is None or comparison.gain is None:
        return ""
    lower, upper = comparison.gain.interval
    unit = currency or "currency units"
    return f": {comparison.gain.value:+.2f} {unit} profit per view ({lower:+.2f} to {upper:+.2f})"


def _say_terms(answer: OfferAnswer) -> Iterator[str]:
    """Say what both offers are expected to bring, what that is reckoned with, and the rates."""
    recommended, comparison = answer.recommendation, answer.recommendation.comparison
    if comparison is None:
        return
    if comparison.improvement is not None:  # else a warning has it
        yield say_values(answer.case, recommended, comparison)
    economics, unit = answer.case.question.economics, answer.case.currency_code or "currency units"
    if economics.mean_revenue is not None and economics.gross_margin_rate is not None:
        yield (
            f"A conversion brings {economics.mean_revenue:.2f} {unit} on average,"
            f" {economics.gross_margin_rate:.1%} of it gross margin."
        )
    rates = (
        (recommended.conversion_rate, answer.interval),
        (comparison.conversion_rate, answer.current_interval),
    )
    new, current = (_say_rate(rate, interval) for rate, interval in rates)
    yield f"The conversion rate is expected to be {new} instead of {current}."


def _say_rate(rate: float, interval: Interval | None) -> str:
    if interval is None:
        return f"{rate:.1%} (no interval can be given)"
    return f"{rate:.1%} ({interval.lower:.1%} to {interval.upper:.1%} on nine days in ten)"


def _matters(recommended: OfferRecommendation, comparison: Comparison) -> bool:
    """Return whether an offer is likely enough better, and expected to be so by as much as matters.

    The expected gain is that of the values themselves, also where no percentage with an interval is given:
    beside next to nothing, a loss, or under a margin that nobody knows.
    """
    current = comparison.value_per_view
    gains = recommended.value_per_view - current >= SMALLEST_OFFER_GAIN * abs(current)
    return gains and comparison.confidence >= MINIMUM_OFFER_CONFIDENCE


def _withhold_change(said: str, comparison: Comparison | None) -> Withheld:
    """Return why the offer stays as it is: nothing gains, or nobody knows."""
    return withhold_unsure(
        RecommendationType.OFFER_AMOUNT,
        Prospect(
            said=said,
            most=None if comparison is None else comparison.most_improvement(),
            smallest=SMALLEST_OFFER_GAIN,
            gain="profit per view",
        ),
    )
