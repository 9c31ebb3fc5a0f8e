"""What the reader of a recommended offer should know before believing it."""

from collections.abc import Iterator

from services.optimizer.domain.features import HISTORY_DAYS, MICROS_PER_UNIT
from services.optimizer.domain.objectives import Objective
from services.optimizer.domain.offers.case import OfferCase
from services.optimizer.domain.offers.constraints import ConstraintKind
from services.optimizer.domain.offers.recommendation import Comparison, OfferRecommendation


def warn_of_assumptions(case: OfferCase, recommendation: OfferRecommendation) -> Iterator[str]:
    """Say which numbers nobody stated: a gross margin, views a day, how sure a rate is."""
    yield from _warn_of_margin(case)
    kinds = {check.constraint.kind for check in recommendation.constraints}
    if ConstraintKind.DAILY_BUDGET in kinds and case.views_a_day is not None:
        source = "the mean of campaigns of its type" if case.are_views_of_type else "its own mean"
        stated = "as stated" if case.are_views_stated else f"{source} over the last {HISTORY_DAYS} days"
        yield f"daily_budget is held against {case.views_a_day:.1f} views a day, {stated}."
    if case.known_rate is not None and not case.known_rate_views:
        yield (
            "How many views are behind current_conversion_rate is not known (current_views says it), so it"
            " counts as no surer than campaigns of the type differ."
        )


def _warn_of_margin(case: OfferCase) -> Iterator[str]:
    terms, economics = case.terms, case.question.economics
    if case.is_margin_of_merchant:
        yield (
            "No gross margin is known for the campaign; the mean of the merchant's"
            f" {terms.campaigns_with_margin} campaigns with one is taken: {economics.gross_margin_rate:.3f}"
            f" ({terms.lowest_margin:.3f} to {terms.highest_margin:.3f})."
        )
    elif case.question.objective is Objective.PROFIT and economics.gross_margin_rate is None:
        yield (
            "No gross margin is known for the campaign, nor for its merchant's, so all revenue is taken for"
            " margin; the offer is likely too high. confidence takes every margin from 0 to 1 for as likely."
        )


def warn_of_constraints(recommendation: OfferRecommendation) -> Iterator[str]:
    """Name the constraints that the current offer breaks, and those that decide."""
    current = (recommendation.current_offer_micros or 0) / MICROS_PER_UNIT
    for broken in recommendation.broken_by_current:
        yield f"The current offer, {current:g}, {broken}."
    binding = [check.constraint for check in recommendation.constraints if check.is_binding]
    for constraint in binding:
        yield (
            f"{constraint.kind.value} of {constraint.limit:g} ({constraint.source.value}) decides: without"
            f" constraints the offer would be"
            f" {recommendation.unconstrained_offer_micros / MICROS_PER_UNIT:g}."
        )


def warn_of_comparison(case: OfferCase, recommendation: OfferRecommendation) -> Iterator[str]:
    """Say where the offer lies at the edge of the data, and why it is not compared."""
    question, comparison = case.question, recommendation.comparison
    decided = any(check.is_binding for check in recommendation.constraints)
    if recommendation.is_at_edge and not decided:
        yield "The recommended offer is the last one that the data supports; a better one may lie beyond."
    if question.current_offer_micros is not None and comparison is None:
        yield "The data does not support the current offer, so nothing is compared with it."
    if comparison is not None and comparison.improvement is None:
        yield (
            f"{say_values(case, recommendation, comparison)} No percentage is given: what is gained is sure"
            " enough only as an amount, since the current offer's value is, or may be, next to nothing."
        )


def say_values(case: OfferCase, recommendation: OfferRecommendation, comparison: Comparison) -> str:
    """Return what both offers are expected to bring per view, and the gain, in words."""
    objective = case.question.objective
    unit = "" if objective is Objective.CONVERSION_RATE else f" {case.currency_code or 'currency units'}"
    said = (
        f"{objective.value} per view is expected to be {recommendation.value_per_view:.4f}{unit} at the"
        f" recommended offer and {comparison.value_per_view:.4f} at the current one"
    )
    if comparison.gain is None:
        return f"{said}; how sure the difference is cannot be said."
    lower, upper = comparison.gain.interval
    return f"{said}, {comparison.gain.value:+.4f} (90 % interval {lower:+.4f} to {upper:+.4f})."


def warn_of_history(case: OfferCase) -> Iterator[str]:
    """Say where the campaign is over, or has no recent days."""
    if case.ended_on is not None:
        yield f"The campaign ended on {case.ended_on}; nothing is sent in it any more."
    if case.seen_until is not None:
        yield (
            f"The campaign has no views in the last {HISTORY_DAYS} days; this is for the campaign as it was"
            f" until {case.seen_until}."
        )
    elif case.situation.historical_impressions == 0:
        yield f"The campaign has no impressions in the last {HISTORY_DAYS} days."
