"""Policies of offers, the decisions that were logged under another one, and where the two overlap.

A decision is a delivery whose offer was drawn, with the probability it was drawn with. What it brought is
what the user did in the campaign from then until the next delivery, at most `OUTCOME_HOURS` later. The
delivery is the unit and not the view, since whether somebody looks may itself depend on the offer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.decision_table import NO_SEGMENTS, DecisionTable
from services.optimizer.domain.direct_model import cross_fit
from services.optimizer.domain.features import MICROS_PER_UNIT, BoolArray, FloatArray
from services.optimizer.domain.off_policy import LoggedRewards, PolicyValue, evaluate_policy

IntArray = NDArray[np.intp]

OUTCOME_HOURS: Final = 72
"""How long after a delivery conversions are taken for its outcome."""
MINIMUM_EFFECTIVE: Final = 50.0
"""Effective decisions, and users, below which no value is given."""
LARGEST_DRIFT: Final = 0.05
LARGEST_DRIFT_ERRORS: Final = 4.0
"""The mean weight must be 1 within this much, or within this many of its standard errors."""
WHOLE: Final = 1e-6
"""Propensities that add up to 1 within this are all that there are."""
HOURS: Final = 24
WEEKDAYS: Final = 7


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
) -> PolicyEvaluation:
    """Return what a policy would have earned per delivery.

    Args:
        policy: what is proposed.
        table: what was logged, not empty.
        segments: the names behind each segment set.
        objective: what counts.
        margins: the share of revenue that is earned, by campaign number (for the objective profit).
        minimum_overlap: the least share of decisions at which every offer of the policy was possible.

    Raises:
        FailedPreconditionError: OVERLAP_MISSING, where the logged offers cannot tell; REVENUE_UNKNOWN.
    """
    rule_of_set = {number: policy.rule_for(names) for number, names in segments.items()} | {
        NO_SEGMENTS: policy.rule_for(())
    }
    rule = np.array([rule_of_set[number] for number in table.segment_set.tolist()], dtype=np.intp)
    covered = find_covered(policy, table, rule)
    share = float(covered.mean())
    logged = list_logged_offers(table)
    if share < minimum_overlap:
        raise _no_overlap(
            f"all offers of the policy were possible at {share:.1%} of {len(table)} logged deliveries, and"
            f" minimum_overlap asks for {minimum_overlap:.1%}; logged are {_say_offers(logged)}"
        )
    kept, kept_rule = table.take(covered), rule[covered]
    value = evaluate_policy(_to_rewards(policy, kept, kept_rule, segments, objective, margins))
    _require_effective(value)
    _require_unit_weights(value)
    return PolicyEvaluation(
        value=value,
        decisions=len(table),
        covered_share=share,
        logged_offers=logged,
        warnings=tuple(_warn(value, share)),
    )


def list_logged_offers(table: DecisionTable) -> tuple[LoggedOffer, ...]:
    """Return what was offered, by offer."""
    offers, place, counts = np.unique(table.offer_micros, return_inverse=True, return_counts=True)
    means = np.bincount(place, weights=table.propensity) / counts
    return tuple(
        LoggedOffer(offer_micros=int(offer), decisions=int(count), mean_propensity=float(mean))
        for offer, count, mean in zip(offers, counts, means, strict=True)
    )


def find_covered(policy: OfferPolicy, table: DecisionTable, rule: IntArray) -> BoolArray:
    """Return the decisions at which nothing shows that an offer of the policy was impossible (n).

    A campaign's day under one logging policy whose offers each have one propensity, and all together 1, could
    make no other offer: where the policy would, the decision is outside the overlap. Where not all offers
    were seen nothing is known, and the decision stays: to leave out what a draw happened not to bring would
    bias what is left. If such an offer was indeed impossible, the mean weight falls below 1 and tells.
    """
    strata = np.column_stack((table.campaign, table.day, table.version))
    _, stratum = np.unique(strata, axis=0, return_inverse=True)
    stratum = stratum.ravel()
    made, place = np.unique(np.column_stack((stratum, table.offer_micros)), axis=0, return_inverse=True)
    place = place.ravel()
    lowest, highest = np.full(len(made), np.inf), np.zeros(len(made))
    np.minimum.at(lowest, place, table.propensity)
    np.maximum.at(highest, place, table.propensity)
    owner = made[:, 0].astype(np.intp)
    known = np.bincount(owner, weights=highest)
    varied = np.bincount(owner, weights=highest - lowest > WHOLE)
    is_complete = (np.abs(known - 1.0) <= WHOLE) & (varied == 0)
    covered = ~is_complete[stratum]
    for number, proposed in enumerate(policy.rules):
        wanted = [choice.offer_micros for choice in proposed.choices]
        found = np.bincount(owner, weights=np.isin(made[:, 1], wanted)) == len(wanted)
        covered |= (rule == number) & found[stratum]
    return np.asarray(covered)


def _to_rewards(  # noqa: PLR0917 (what an evaluation is made of)
    policy: OfferPolicy,
    table: DecisionTable,
    rule: IntArray,
    segments: Mapping[int, Sequence[str]],
    objective: PolicyObjective,
    margins: FloatArray,
) -> LoggedRewards:
    reward = _rewards(table, objective, margins)
    offers = table.offer_micros / MICROS_PER_UNIT
    model = cross_fit(reward, offers, _context(table, segments), table.user)
    weight, expected = np.zeros(len(table)), np.zeros(len(table))
    for offer in sorted({choice.offer_micros for each in policy.rules for choice in each.choices}):
        by_rule = np.array(
            [
                sum(choice.probability for choice in each.choices if choice.offer_micros == offer)
                for each in policy.rules
            ]
        )
        probability = by_rule[rule]
        weight += np.where(table.offer_micros == offer, probability / table.propensity, 0.0)
        expected += probability * model.predict(np.full(len(table), offer / MICROS_PER_UNIT))
    if not weight.any():
        raise _no_overlap("none of its offers was ever drawn")
    return LoggedRewards(
        user=np.unique(table.user, return_inverse=True)[1],
        weight=weight,
        reward=reward,
        predicted=model.predict(offers),
        predicted_for_policy=expected,
    )


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


def _context(table: DecisionTable, segments: Mapping[int, Sequence[str]]) -> FloatArray:
    """Return what is known before the offer is drawn: campaign, weekday, time of day, segments (n, k)."""
    angle = 2.0 * np.pi * table.hour / HOURS
    names = sorted({name for of_set in segments.values() for name in of_set})
    has = {number: [name in of_set for name in names] for number, of_set in segments.items()}
    has[NO_SEGMENTS] = [False] * len(names)
    by_segment = np.array([has[number] for number in table.segment_set.tolist()], dtype=np.float64)
    campaigns = np.arange(1, int(table.campaign.max()) + 1)
    return np.column_stack(
        (
            np.sin(angle),
            np.cos(angle),
            table.weekday[:, np.newaxis] == np.arange(1, WEEKDAYS),
            table.campaign[:, np.newaxis] == campaigns,
            by_segment.reshape(len(table), len(names)),
        )
    ).astype(np.float64)


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


def _no_overlap(why: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"the logged offers cannot tell what this policy earns: {why}; propose offers that were drawn, or"
        " draw these",
        reason="OVERLAP_MISSING",
    )


def _say_offers(logged: tuple[LoggedOffer, ...]) -> str:
    most = sorted(logged, key=lambda offer: -offer.decisions)[:10]
    return ", ".join(f"{offer.offer_micros / MICROS_PER_UNIT:g} ({offer.decisions})" for offer in most)


def _warn(value: PolicyValue, share: float) -> list[str]:
    warnings = []
    if share < 1.0:
        warnings.append(
            f"The value is that of the {share:.1%} of deliveries at which all offers of the policy were"
            " possible, and the improvement compares with what was sent at these."
        )
    if abs(value.mean_weight - 1.0) > 2.0 * value.mean_weight_error:
        warnings.append(
            f"The weights average {value.mean_weight:.3f} where 1 is expected; trust snips before ips."
        )
    return warnings
