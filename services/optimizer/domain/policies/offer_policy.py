"""Policies of offers, the decisions that were logged under another one, and where the two overlap.

A decision is a delivery whose offer was drawn, with the probability it was drawn with. What it brought is
what the user did in the campaign from then until the next delivery, at most `OUTCOME_HOURS` later. The
delivery is the unit and not the view, since whether somebody looks may itself depend on the offer.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.features import MICROS_PER_UNIT, BoolArray, FloatArray
from services.optimizer.domain.policies.margins import confidence_over_margins
from services.optimizer.domain.policies.off_policy import (
    LoggedRewards,
    PolicyValue,
    effective_sample_size,
    evaluate_policy,
)
from services.optimizer.domain.policies.rewards import weigh
from services.optimizer.domain.response.decision_table import NO_SEGMENTS, DecisionTable, IntArray
from services.optimizer.domain.response.offer_overlap import find_covered

OUTCOME_HOURS: Final = 72
"""How long after a delivery conversions are taken for its outcome."""
MINIMUM_EFFECTIVE: Final = 50.0
"""Effective decisions, and users, below which no value is given."""
MINIMUM_EXPECTED: Final = 10.0
"""Effective conversions at the policy's offers, at the log's own rate, below which no value is given.

A mean of few rewards that are not 0 has no normal error. What is expected decides and not what was seen, or
only values that came out high would be given.
"""
MINIMUM_CONVERSIONS: Final = 5.0
"""Effective conversions that must have been seen: with none the error would be 0."""
FEW_CONVERSIONS: Final = 20.0
"""Effective conversions, expected or seen, below which the answer warns."""
LARGEST_DRIFT: Final = 0.05
LARGEST_DRIFT_ERRORS: Final = 3.0
"""The mean weight must be 1 within this much, or within this many of its standard errors."""
UNTOLD_SHARE: Final = 0.1
"""Share of deliveries without overlap that weights should show; where they cannot, the answer says so."""


class PolicyObjective(StrEnum):
    """What a policy is judged by, per delivery; the values are the words callers send."""

    PROFIT = "profit"
    REVENUE = "revenue"
    CONVERSIONS = "conversions"


@dataclass(frozen=True, kw_only=True)
class OfferChoice:
    """An offer and the probability, above 0, with which the policy makes it."""

    offer_micros: int
    probability: float


@dataclass(frozen=True, kw_only=True)
class PolicyRule:
    """What users of a segment are offered (None: everybody); the probabilities add up to 1."""

    segment_name: str | None
    choices: tuple[OfferChoice, ...]


@dataclass(frozen=True, kw_only=True)
class OfferPolicy:
    """The first rule that fits a user holds; the last one is for everybody."""

    rules: tuple[PolicyRule, ...]

    @property
    def offers(self) -> tuple[tuple[int, ...], ...]:
        """The offers of each rule, in micros."""
        return tuple(tuple(choice.offer_micros for choice in rule.choices) for rule in self.rules)

    def rule_for(self, segments: Sequence[str]) -> int:
        """Return the place of the rule for a user of these segments."""
        fitting = (
            place
            for place, rule in enumerate(self.rules)
            if rule.segment_name is None or rule.segment_name in segments
        )
        return next(fitting)


@dataclass(frozen=True, kw_only=True)
class LoggedOffer:
    """An offer that was made, how often, and the mean propensity it was made with."""

    offer_micros: int
    decisions: int
    mean_propensity: float


@dataclass(frozen=True, kw_only=True)
class PolicyEvaluation:
    """A policy's value over the decisions where all its offers were possible, `covered_share` of all."""

    value: PolicyValue
    decisions: int
    covered_share: float
    logged_offers: tuple[LoggedOffer, ...]
    warnings: tuple[str, ...]


def evaluate_offer_policy(
    policy: OfferPolicy,
    table: DecisionTable,
    segments: Mapping[int, Sequence[str]],
    *,
    objective: PolicyObjective,
    margins: FloatArray,
    minimum_overlap: float,
    is_margin_assumed: BoolArray | None = None,
) -> PolicyEvaluation:
    """Return what a policy would have earned per delivery.

    Args:
        policy: what is proposed.
        table: what was logged, not empty.
        segments: the names behind each segment set.
        objective: what counts.
        margins: the share of revenue that is earned, by campaign number (for the objective profit).
        minimum_overlap: the least share of decisions at which every offer of the policy was possible.
        is_margin_assumed: the campaigns whose margin nobody knows: confidence takes any for as likely.

    Raises:
        FailedPreconditionError: OVERLAP_MISSING, where the logged offers cannot tell; DATA_INSUFFICIENT, with
            too few conversions; REVENUE_UNKNOWN.
    """
    rule_of_set = {number: policy.rule_for(names) for number, names in segments.items()} | {
        NO_SEGMENTS: policy.rule_for(())
    }
    rule = np.array([rule_of_set[number] for number in table.segment_set.tolist()], dtype=np.intp)
    covered = find_covered(policy.offers, table, rule)
    share = float(covered.mean())
    logged = list_logged_offers(table)
    if share < minimum_overlap:
        raise _too_little_overlap(policy, logged, share, minimum_overlap)
    kept, kept_rule = table.take(covered), rule[covered]
    probabilities = _probabilities(policy, kept_rule)

    def rewards_at(margins: FloatArray) -> LoggedRewards:
        return weigh(kept, _rewards(kept, objective, margins), segments, probabilities)

    rewards = rewards_at(margins)
    if not rewards.weight.any():
        raise _no_overlap("none of its offers was ever drawn")
    value = evaluate_policy(rewards)
    _require_effective(value)
    _require_unit_weights(value)
    conversions = _count_conversions(rewards, kept, value)
    if objective is PolicyObjective.PROFIT and is_margin_assumed is not None and is_margin_assumed.any():
        none = rewards_at(np.where(is_margin_assumed, 0.0, margins))
        whole = rewards_at(np.where(is_margin_assumed, 1.0, margins))
        confidence = confidence_over_margins(none, whole)
        value = replace(value, confidence=confidence)
    return PolicyEvaluation(
        value=value,
        decisions=len(table),
        covered_share=share,
        logged_offers=logged,
        warnings=tuple(_warn(value, share, conversions)),
    )


def list_logged_offers(table: DecisionTable) -> tuple[LoggedOffer, ...]:
    """Return what was offered, by offer."""
    offers, place, counts = np.unique(table.offer_micros, return_inverse=True, return_counts=True)
    means = np.bincount(place, weights=table.propensity) / counts
    return tuple(
        LoggedOffer(offer_micros=int(offer), decisions=int(count), mean_propensity=float(mean))
        for offer, count, mean in zip(offers, counts, means, strict=True)
    )


def _probabilities(policy: OfferPolicy, rule: IntArray) -> dict[int, FloatArray]:
    """Return by offer, in micros, the probability that the policy makes it at each decision."""
    by_offer = {
        choice.offer_micros: np.zeros(len(policy.rules)) for each in policy.rules for choice in each.choices
    }
    for place, each in enumerate(policy.rules):
        for choice in each.choices:
            by_offer[choice.offer_micros][place] = choice.probability
    return {offer: by_offer[offer][rule] for offer in sorted(by_offer)}


def _rewards(table: DecisionTable, objective: PolicyObjective, margins: FloatArray) -> FloatArray:
    if objective is PolicyObjective.CONVERSIONS:
        return table.conversions.astype(np.float64)
    if not table.revenue_micros.any():
        raise FailedPreconditionError(
            f"the objective {objective.value} needs the revenue of conversions, and none is recorded with the"
            " logged deliveries; ask for the objective conversions",
            reason="REVENUE_UNKNOWN",
            metadata={"objective": objective.value, "possible_objective": PolicyObjective.CONVERSIONS.value},
        )
    revenue = table.revenue_micros / MICROS_PER_UNIT
    if objective is PolicyObjective.REVENUE:
        return np.asarray(revenue)
    paid = table.conversions * (table.offer_micros / MICROS_PER_UNIT)
    return np.asarray(margins[table.campaign] * revenue - paid)


def _require_effective(value: PolicyValue) -> None:
    effective = min(value.effective_decisions, value.effective_users)
    if effective < MINIMUM_EFFECTIVE:
        raise _no_overlap(
            f"its offers were drawn so rarely that {value.decisions} deliveries to {value.users} users are"
            f" worth {effective:.1f} (effective sample size), and {MINIMUM_EFFECTIVE:.0f} are needed"
        )


def _require_unit_weights(value: PolicyValue) -> None:
    drift = abs(value.mean_weight - 1.0)
    if drift > max(LARGEST_DRIFT, LARGEST_DRIFT_ERRORS * value.mean_weight_error):
        raise _no_overlap(
            f"the weights average {value.mean_weight:.3f}, and true propensities make it 1: some of its"
            " offers were impossible for part of the deliveries, or propensities are logged wrongly"
        )


def _count_conversions(rewards: LoggedRewards, table: DecisionTable, value: PolicyValue) -> float:
    """Return how many of equal weight tell as much as the conversions at the policy's offers.

    The fewer of those seen and those that the log's own rate lets expect; too few are refused.
    """
    logged, seen = (
        effective_sample_size(
            np.asarray(np.bincount(rewards.user, weights=weight * table.conversions), dtype=np.float64)
        )
        for weight in (np.ones(len(table)), rewards.weight)
    )
    expected = logged * value.effective_decisions / value.decisions
    if expected < MINIMUM_EXPECTED or seen < MINIMUM_CONVERSIONS:
        raise FailedPreconditionError(
            "too few conversions tell of the offers of this policy: by their weights those seen are worth"
            f" {seen:.1f} and {MINIMUM_CONVERSIONS:.0f} are needed, those that all deliveries let expect"
            f" {expected:.1f} and {MINIMUM_EXPECTED:.0f} are needed; look at more days or campaigns",
            reason="DATA_INSUFFICIENT",
            metadata={"conversions": f"{seen:.1f}", "expected_conversions": f"{expected:.1f}"},
        )
    return min(seen, expected)


def _too_little_overlap(
    policy: OfferPolicy, logged: tuple[LoggedOffer, ...], share: float, minimum: float
) -> FailedPreconditionError:
    """Return the refusal, with what would help: other offers, or a smaller minimum_overlap."""
    deliveries = sum(each.decisions for each in logged)
    never = sorted(
        {micros for rule in policy.offers for micros in rule} - {each.offer_micros for each in logged}
    )
    why, remedy = f"at {1.0 - share:.1%} of {deliveries} logged deliveries", ""
    if never:
        names = " and ".join(f"{micros / MICROS_PER_UNIT:g}" for micros in never)
        why = f"{names} {'was' if len(never) == 1 else 'were'} never drawn, which {why} shows that"
    left = f"so that {share:.1%} are left"
    if never and share > 0.0:
        left = f"and at the other {share:.1%} too few offers were drawn to show it"
    elif (possible := math.floor(1000.0 * share) / 1000.0) > 0.0:
        remedy = f"; or ask with a minimum_overlap of at most {possible:g} for the value at those alone"
    return _no_overlap(
        f"{why} an offer of the policy was impossible, {left}, where minimum_overlap asks for"
        f" {minimum:.1%}; logged are {_say_offers(logged)}",
        remedy,
        covered_share=f"{share:.6g}",
        minimum_overlap=f"{minimum:g}",
    )


def _no_overlap(why: str, remedy: str = "", **metadata: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"the logged offers cannot tell what this policy earns: {why}; propose offers that were drawn, or"
        f" draw these{remedy}",
        reason="OVERLAP_MISSING",
        metadata=metadata,
    )


def _say_offers(logged: tuple[LoggedOffer, ...]) -> str:
    most = sorted(logged, key=lambda offer: -offer.decisions)[:10]
    return ", ".join(f"{offer.offer_micros / MICROS_PER_UNIT:g} ({offer.decisions})" for offer in most)


def _warn(value: PolicyValue, share: float, conversions: float) -> list[str]:
    warnings = []
    if share < 1.0:
        warnings.append(
            f"The value is that of the {share:.1%} of deliveries at which all offers of the policy were"
            " possible, and the improvement compares with what was sent at these."
        )
    if conversions < FEW_CONVERSIONS:
        warnings.append(
            f"Conversions at the offers of the policy are worth {conversions:.1f} by their weights; with so"
            " few, intervals hold somewhat less often than they say."
        )
    if abs(value.mean_weight - 1.0) > 2.0 * value.mean_weight_error:
        warnings.append(
            f"The weights average {value.mean_weight:.3f} (standard error {value.mean_weight_error:.3f}), and"
            " 1 is expected: an offer of the policy was impossible at some deliveries, or propensities are"
            " logged wrongly, or it is chance. Only of chance do the estimates take care, snips and doubly"
            " robust better than ips."
        )
    elif 2.0 * value.mean_weight_error > UNTOLD_SHARE:
        warnings.append(
            f"The weights average {value.mean_weight:.3f} with a standard error of"
            f" {value.mean_weight_error:.3f}: they alone would not show that an offer of the policy was"
            f" impossible at fewer than {min(2.0 * value.mean_weight_error, 1.0):.0%} of the deliveries."
        )
    return warnings
