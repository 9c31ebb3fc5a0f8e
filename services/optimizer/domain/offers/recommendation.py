"""Which offer to recommend from a response curve, how sure that is, and when not to recommend at all."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.features import MICROS_PER_UNIT, BoolArray, FloatArray
from services.optimizer.domain.objectives import Economics, Objective, value_per_conversion
from services.optimizer.domain.offers.constraints import (
    BrokenConstraint,
    Constraint,
    ConstraintCheck,
    ConstraintKind,
    Prospects,
    choose,
    list_broken,
)
from services.optimizer.domain.response.offer_odds import (
    PricedOffer,
    arrange_duel,
    logit_spreads,
    most_improvement,
)
from services.optimizer.domain.response.response import (
    CURVE_OFFERS_MICROS,
    Anchor,
    ResponseModel,
    TypeResponse,
    anchored_rates,
)
from services.optimizer.domain.response.support import Support

SMALLEST_BASE: Final = 0.1
"""A current offer worth less than this share of the best is no base for a percentage: where it nears 0, the
percentage is made by the error of the base."""

IMPROVEMENT_LEVEL: Final = 0.9


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One offer of a response curve.

    `logit_spread` is the standard deviation of the rate's logit, for the shape of the curve between the
    offers that set its level and this one. `value_per_view` is the objective's, in currency units (a rate
    for conversion_rate); `is_supported` tells whether the data can speak of the offer; `broken` are the
    constraints that it does not keep.
    """

    offer_micros: int
    conversion_rate: float
    logit_spread: float
    forest_conversion_rate: float
    value_per_view: float
    is_supported: bool
    broken: tuple[ConstraintKind, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A gain and its 90 % interval."""

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The recommended offer beside the current one.

    `conversion_rate` and `value_per_view` are the current offer's. `gain` is what the recommended offer's
    value exceeds it by, per view, and `improvement` the same relative to it (a fraction), each with its 90 %
    interval. `improvement` is None where the current offer's value is below `SMALLEST_BASE` of the
    recommended one's, or may well be nothing; both are where an interval, over all that a gross margin
    nobody knows may be, does not hold what all revenue as margin makes of it.
    `confidence` is the probability that the recommended offer is worth more. `most_improvement` finds the
    highest upper end of the 90 % intervals of what any other offer gains, of those that the data supports and
    constraints allow; None where the current offer may well earn nothing. It takes
    longer than all else here, and only who withholds a recommendation asks.
    """

    conversion_rate: float
    value_per_view: float
    improvement: Gain | None
    gain: Gain | None
    confidence: float
    most_improvement: Callable[[], float | None] = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class OfferRecommendation:
    """The best offer that data supports and constraints allow, and what is expected of it.

    `comparison` is None where there is no current offer, or the data cannot speak of it. `is_at_edge` tells
    that the offer is the last one the data supports: a better one may lie beyond.
    `unconstrained_offer_micros` is what it would be without constraints; `broken_by_current` are those that
    the current offer does not keep.
    """

    offer_micros: int
    conversion_rate: float
    value_per_view: float
    current_offer_micros: int | None
    comparison: Comparison | None
    is_at_edge: bool
    unconstrained_offer_micros: int
    constraints: tuple[ConstraintCheck, ...]
    broken_by_current: tuple[BrokenConstraint, ...]
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked: for which kind of campaign, from which offer, towards what."""

    campaign_type: int
    current_offer_micros: int | None
    objective: Objective
    economics: Economics
    constraints: tuple[Constraint, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What the training data says, and what is known of the campaign asked about.

    `anchor` sets the level of the curve, whose logit has the variance `level_variance`; `forest` are the
    forest's own rates at the 41 offers, shown beside the curve; `views_a_day` is over all days.
    """

    response: ResponseModel
    support: Support
    anchor: Anchor
    forest: FloatArray
    level_variance: float = 0.0
    views_a_day: float | None = None


def decide_offer(question: Question, knowledge: Knowledge) -> OfferRecommendation:
    """Return the supported offer of the highest value that keeps the constraints.

    Raises:
        FailedPreconditionError: the data cannot speak of this campaign type (OFFER_UNSUPPORTED), revenue is
            unknown (REVENUE_UNKNOWN), no supported offer earns anything (OFFER_UNPROFITABLE), or none keeps
            the constraints (OFFER_CONSTRAINED).
    """
    response, supported = _consult_data(question.campaign_type, knowledge.response, knowledge.support)
    offers = np.array(CURVE_OFFERS_MICROS) / MICROS_PER_UNIT
    rates = anchored_rates(response, offers, knowledge.anchor)
    values = rates * value_per_conversion(question.objective, offers, question.economics)
    if np.max(values[supported]) <= 0.0:  # else the smallest earns, which no constraint forbids alone
        raise FailedPreconditionError(
            "no supported offer earns anything: gross_margin_rate x mean revenue per conversion is at most"
            " the smallest supported offer",
            reason="OFFER_UNPROFITABLE",
        )
    prospects = Prospects(
        offers=offers, rates=rates, economics=question.economics, views_a_day=knowledge.views_a_day
    )
    choice = choose(values, supported, question.constraints, prospects)
    best = choice.best
    chosen = PricedOffer(offer=float(offers[best]), rate=float(rates[best]), value=float(values[best]))
    places = np.flatnonzero(supported)
    spreads = logit_spreads(response, offers, knowledge.anchor)
    return OfferRecommendation(
        offer_micros=CURVE_OFFERS_MICROS[best],
        conversion_rate=chosen.rate,
        value_per_view=chosen.value,
        current_offer_micros=question.current_offer_micros,
        comparison=_compare(
            question, knowledge, response, chosen, offers[supported & choice.kept.all(axis=0)]
        ),
        is_at_edge=best in (places[0], places[-1]),
        unconstrained_offer_micros=CURVE_OFFERS_MICROS[choice.unconstrained_best],
        constraints=choice.checks,
        broken_by_current=_broken_by_current(question, knowledge, response),
        curve=tuple(
            CurvePoint(
                offer_micros=offer,
                conversion_rate=float(rates[index]),
                logit_spread=float(spreads[index]),
                forest_conversion_rate=float(knowledge.forest[index]),
                value_per_view=float(values[index]),
                is_supported=bool(supported[index]),
                broken=tuple(
                    check.constraint.kind
                    for check, kept in zip(choice.checks, choice.kept[:, index], strict=True)
                    if not kept
                ),
            )
            for index, offer in enumerate(CURVE_OFFERS_MICROS)
        ),
    )


def _broken_by_current(
    question: Question, knowledge: Knowledge, response: TypeResponse
) -> tuple[BrokenConstraint, ...]:
    """Return what the current offer breaks; of a budget nothing where the data cannot speak of its rate."""
    micros = question.current_offer_micros
    if micros is None:
        return ()
    is_supported = knowledge.support[question.campaign_type].covers((micros,))[0]
    offer = np.array([micros / MICROS_PER_UNIT])
    prospects = Prospects(
        offers=offer,
        rates=anchored_rates(response, offer, knowledge.anchor),
        economics=question.economics,
        views_a_day=knowledge.views_a_day,
    )
    return list_broken(
        [
            each
            for each in question.constraints
            if is_supported or each.kind is not ConstraintKind.DAILY_BUDGET
        ],
        prospects,
    )


def _compare(
    question: Question,
    knowledge: Knowledge,
    response: TypeResponse,
    chosen: PricedOffer,
    allowed: FloatArray,
) -> Comparison | None:
    """Return the chosen offer beside the current one; None without one that the data can speak of.

    `allowed` are the offers that may be recommended.
    """
    micros = question.current_offer_micros
    if micros is None or not knowledge.support[question.campaign_type].covers((micros,))[0]:
        return None
    offer = np.array([micros / MICROS_PER_UNIT])
    rate = anchored_rates(response, offer, knowledge.anchor)
    value = rate * value_per_conversion(question.objective, offer, question.economics)
    current = PricedOffer(offer=float(offer[0]), rate=float(rate[0]), value=float(value[0]))
    is_base = current.value >= SMALLEST_BASE * chosen.value
    most = partial(
        most_improvement,
        question.objective,
        question.economics,
        response,
        knowledge.anchor,
        others=allowed,
        rates=anchored_rates(response, allowed, knowledge.anchor),
        current=current,
        level_variance=knowledge.level_variance,
    )
    if math.isclose(chosen.offer, current.offer):
        return Comparison(
            conversion_rate=current.rate,
            value_per_view=current.value,
            improvement=Gain(value=0.0, interval=(0.0, 0.0)),
            gain=Gain(value=0.0, interval=(0.0, 0.0)),
            confidence=0.5,
            most_improvement=most,
        )
    duel = arrange_duel(
        question.objective,
        question.economics,
        response,
        knowledge.anchor,
        best=chosen,
        current=current,
        level_variance=knowledge.level_variance,
    )
    return Comparison(
        conversion_rate=current.rate,
        value_per_view=current.value,
        improvement=(
            _gain(chosen.value / current.value - 1.0, duel.improvement_interval(IMPROVEMENT_LEVEL))
            if is_base
            else None
        ),
        gain=_gain(chosen.value - current.value, duel.gain_interval(IMPROVEMENT_LEVEL)),
        confidence=duel.confidence,
        most_improvement=most,
    )


def _gain(value: float, interval: tuple[float, float] | None) -> Gain | None:
    """Return a gain that its interval holds; None where there is none that does."""
    if interval is None or not interval[0] <= value <= interval[1]:
        return None
    return Gain(value=value, interval=interval)


def _consult_data(
    campaign_type: int, response: ResponseModel, support: Support
) -> tuple[TypeResponse, BoolArray]:
    """Return the type's response and the offers of the curve it may be asked about."""
    of_type = support.get(campaign_type)
    if of_type is None or not of_type.tried_micros:
        raise _unsupported("no offer of this campaign type was viewed often enough in the training data")
    if of_type.varied_campaigns == 0 or campaign_type not in response:
        raise _unsupported(
            "no campaign of this type ever changed its offer in the training data, so the effect of the offer"
            " cannot be told from the campaigns' own differences"
        )
    supported = of_type.covers(CURVE_OFFERS_MICROS)
    if not supported.any():
        raise _unsupported("every offer tried by this campaign type lies outside $5 to $25")
    return response[campaign_type], supported


def _unsupported(why: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"no recommendation without data: {why}; vary the offer (an A/B test does) and train again",
        reason="OFFER_UNSUPPORTED",
    )
