"""Off-policy values of the simulated world's randomised campaigns, against its equations.

The world logs a propensity for 15 % of its campaigns: each delivery's offer is drawn around the day's. What
another policy would have earned at the same deliveries follows from the equations, noise of the day left out.
The seed was not used in development.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pytest

from examples.simulated_world import response
from examples.simulated_world.columns import EventColumns, Kind
from examples.simulated_world.events import conversion_probability, generate_days
from examples.simulated_world.population import LIFECYCLES
from examples.simulated_world.world import World
from services.common.errors import FailedPreconditionError
from services.optimizer.domain.decision_table import DecisionTable
from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.off_policy import PolicyEstimate
from services.optimizer.domain.offer_overlap import find_covered
from services.optimizer.domain.offer_policy import (
    OfferChoice,
    OfferPolicy,
    PolicyEvaluation,
    PolicyObjective,
    PolicyRule,
    evaluate_offer_policy,
)

SEED = 20_263
END_DAY = date(2026, 11, 19)
MICROS = 1_000_000
LOYAL = LIFECYCLES.index("loyal")
SEGMENTS = {number: (name,) for number, name in enumerate(LIFECYCLES)}


@dataclass(frozen=True, kw_only=True)
class Log:
    """The deliveries with a propensity of one campaign, and what they led to."""

    world: World
    sent: EventColumns
    local_hour: FloatArray
    table: DecisionTable
    margin: float

    def true_value(self, policy: OfferPolicy, covered: np.ndarray) -> float:
        """Profit per delivery of a policy at the deliveries inside the overlap, by the equations."""
        world, sent = self.world, self.sent
        profile = world.users.hour_profile[sent.user, self.local_hour.astype(np.intp)]
        viewed = response.view_probability(profile)
        worth = world.campaigns.mean_revenue[sent.campaign] * self.margin
        rule = np.array([policy.rule_for(SEGMENTS[number]) for number in self.table.segment_set.tolist()])
        total = np.zeros(len(sent))
        for number, proposed in enumerate(policy.rules):
            for choice in proposed.choices:
                offer = choice.offer_micros / MICROS
                at_offer = sent.take(np.arange(len(sent)))
                at_offer.offer_micros[:] = choice.offer_micros
                rate = conversion_probability(world, at_offer, profile, np.zeros(len(sent)))
                total += np.where(rule == number, choice.probability * viewed * rate * (worth - offer), 0.0)
        return float(total[covered].mean())


def build_logs() -> list[Log]:
    """Generate the world; conversions are known by the delivery that they stem from."""
    world = World.build(seed=SEED, end_date=END_DAY)
    sent_parts, bought_parts = [], []
    for events in generate_days(world):
        drawn = ~np.isnan(events.propensity)
        sent_parts.append(events.take(drawn & (events.kind == Kind.DELIVERED)))
        bought_parts.append(events.take(drawn & (events.kind == Kind.CONVERTED)))
    sent, bought = EventColumns.concatenate(sent_parts), EventColumns.concatenate(bought_parts)
    key = sent.day * 1_000_000 + sent.row
    order = np.argsort(key)
    place = order[np.searchsorted(key[order], bought.day * 1_000_000 + bought.row)]
    conversions = np.bincount(place, minlength=len(sent))
    revenue = np.bincount(place, weights=bought.revenue_micros, minlength=len(sent)).astype(np.int64)
    noon = world.noon_utc[world.users.city[sent.user], sent.day]
    hour = ((sent.at - noon) // 3600 + 12).astype(np.float64)
    return [_log(world, sent, hour, conversions, revenue, campaign) for campaign in np.unique(sent.campaign)]


def _log(  # noqa: PLR0917 (columns of one log)
    world: World,
    sent: EventColumns,
    hour: FloatArray,
    conversions: np.ndarray,
    revenue: np.ndarray,
    campaign: int,
) -> Log:
    own = sent.campaign == campaign
    part = sent.take(own)
    return Log(
        world=world,
        sent=part,
        local_hour=hour[own],
        margin=float(world.campaigns.gross_margin_rate[campaign]),
        table=DecisionTable(
            user=part.user.astype(np.intp),
            campaign=np.zeros(len(part), dtype=np.intp),
            version=np.zeros(len(part), dtype=np.intp),
            day=part.day,
            weekday=world.weekdays[part.day].astype(np.intp),
            hour=hour[own].astype(np.intp),
            segment_set=world.users.lifecycle[part.user].astype(np.int64),
            offer_micros=part.offer_micros,
            propensity=part.propensity,
            conversions=conversions[own].astype(np.int64),
            revenue_micros=revenue[own],
        ),
    )


def propose(log: Log) -> list[OfferPolicy]:
    """The offer drawn most; and less of it to loyal users, who buy anyway."""
    offers, counts = np.unique(log.table.offer_micros, return_counts=True)
    usual = int(offers[np.argmax(counts)])
    everybody = PolicyRule(segment_name=None, choices=(OfferChoice(offer_micros=usual, probability=1.0),))
    lower = PolicyRule(
        segment_name=LIFECYCLES[LOYAL],
        choices=(OfferChoice(offer_micros=usual - 5 * MICROS, probability=1.0),),
    )
    policies = [OfferPolicy(rules=(everybody,))]
    if usual - 5 * MICROS in offers:
        policies.append(OfferPolicy(rules=(lower, everybody)))
    return policies


def evaluate(policy: OfferPolicy, log: Log) -> PolicyEvaluation:
    return evaluate_offer_policy(
        policy,
        log.table,
        SEGMENTS,
        objective=PolicyObjective.PROFIT,
        margins=np.array([log.margin]),
        minimum_overlap=0.05,
    )


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A policy's evaluation beside its truth."""

    evaluation: PolicyEvaluation
    truth: float

    def error(self, name: str) -> float:
        estimate: PolicyEstimate = getattr(self.evaluation.value, name)
        assert estimate.standard_error is not None
        return (estimate.value - self.truth) / estimate.standard_error


@pytest.fixture(scope="module")
def judged() -> list[Judged]:
    found = []
    for log in build_logs():
        for policy in propose(log):
            rule = np.array([policy.rule_for(SEGMENTS[number]) for number in log.table.segment_set.tolist()])
            covered = find_covered(policy.offers, log.table, rule)
            if covered.sum() < 400:
                continue
            try:
                evaluation = evaluate(policy, log)
            except FailedPreconditionError as refusal:
                assert refusal.reason == "DATA_INSUFFICIENT"  # noqa: PT017 (refused for want of conversions)
                continue
            found.append(Judged(evaluation=evaluation, truth=log.true_value(policy, covered)))
    return found


@pytest.mark.parametrize("name", ["snips", "doubly_robust", "ips"])
def test_values_agree_with_the_equations(judged: list[Judged], name: str) -> None:
    errors = np.array([each.error(name) for each in judged])
    assert len(judged) >= 30
    assert abs(errors.mean()) < 0.5
    assert 0.6 < errors.std() < 1.4
    assert np.mean(np.abs(errors) < 1.645) >= 0.8


def test_the_doubly_robust_value_is_nearer_the_truth(judged: list[Judged]) -> None:
    misses = {
        name: np.mean([abs(getattr(each.evaluation.value, name).value - each.truth) for each in judged])
        for name in ("ips", "snips", "doubly_robust")
    }
    assert misses["doubly_robust"] < misses["ips"]
    assert misses["doubly_robust"] < 1.05 * misses["snips"]
