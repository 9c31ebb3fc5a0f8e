"""Deliveries whose offers were drawn with a logged propensity, and what a policy would truly earn there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from examples.simulated_world import response
from examples.simulated_world.columns import HOUR_SECONDS, MICROS, EventColumns, IntColumn, Kind
from examples.simulated_world.events import conversion_probability, generate_days
from examples.simulated_world.population import LIFECYCLES
from examples.simulated_world.world import World
from services.optimizer.domain.policies.offer_policy import OfferChoice, OfferPolicy, PolicyRule
from services.optimizer.domain.response.decision_table import DecisionTable
from services.optimizer.domain.response.offer_overlap import find_covered

SEGMENTS: Final = {number: (name,) for number, name in enumerate(LIFECYCLES)}
"""Users' lifecycles as sets of segments."""
STEP_MICROS: Final = 5 * MICROS
_NOON: Final = 12
_DAY_SECONDS: Final = 86_400
_UNIX_EPOCH: Final = date(1970, 1, 1).toordinal()
_LOYAL: Final = LIFECYCLES.index("loyal")
_ROWS_A_DAY: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class DrawnLog:
    """The deliveries with a propensity of one campaign, and what they led to (n).

    `day` is an ordinal; `local_hour` is the user's; `conversions` and `revenue_micros` are of the delivery
    itself.
    """

    world: World
    campaign: int
    sent: EventColumns
    day: IntColumn
    local_hour: NDArray[np.intp]
    conversions: IntColumn
    revenue_micros: IntColumn

    def __len__(self) -> int:
        return len(self.sent)

    @property
    def margin(self) -> float:
        """The campaign's gross margin rate."""
        return float(self.world.campaigns.gross_margin_rate[self.campaign])

    @property
    def table(self) -> DecisionTable:
        """The deliveries as the optimizer reads them, segments by lifecycle."""
        sent = self.sent
        return DecisionTable(
            user=sent.user.astype(np.intp),
            campaign=np.zeros(len(sent), dtype=np.intp),
            version=np.zeros(len(sent), dtype=np.intp),
            day=self.day,
            weekday=((self.day - 1) % 7).astype(np.intp),
            hour=self.local_hour,
            segment_set=self.world.users.lifecycle[sent.user].astype(np.int64),
            offer_micros=sent.offer_micros,
            propensity=sent.propensity,
            conversions=self.conversions,
            revenue_micros=self.revenue_micros,
        )

    @property
    def usual_offer(self) -> int:
        """The offer drawn most, in micros."""
        offers, counts = np.unique(self.sent.offer_micros, return_counts=True)
        return int(offers[np.argmax(counts)])

    def between(self, first_day: int, last_day: int) -> Self:
        """Return the deliveries from `first_day` to `last_day` (ordinals), both inclusive."""
        return self.take((self.day >= first_day) & (self.day <= last_day))

    def take(self, mask: NDArray[np.bool_]) -> Self:
        """Return the deliveries where the mask holds."""
        return replace(
            self,
            sent=self.sent.take(mask),
            day=self.day[mask],
            local_hour=self.local_hour[mask],
            conversions=self.conversions[mask],
            revenue_micros=self.revenue_micros[mask],
        )

    def covered(self, policy: OfferPolicy) -> NDArray[np.bool_]:
        """Return the deliveries (n) inside the overlap with a policy, as the optimizer judges it."""
        return find_covered(policy.offers, self.table, self._rules(policy))

    def true_value(self, policy: OfferPolicy, covered: NDArray[np.bool_]) -> float:
        """Profit per delivery of a policy at the deliveries inside the overlap, by the equations.

        The noise of single days is left out.
        """
        world, sent = self.world, self.sent
        profile = world.users.hour_profile[sent.user, self.local_hour]
        viewed = response.view_probability(profile)
        worth = world.campaigns.mean_revenue[self.campaign] * self.margin
        rule, total = self._rules(policy), np.zeros(len(sent))
        for number, proposed in enumerate(policy.rules):
            for choice in proposed.choices:
                at_offer = replace(sent, offer_micros=np.full(len(sent), choice.offer_micros))
                rate = conversion_probability(world, at_offer, profile, np.zeros(len(sent)))
                earned = viewed * rate * (worth - choice.offer_micros / MICROS)
                total += np.where(rule == number, choice.probability * earned, 0.0)
        return float(total[covered].mean())

    def _rules(self, policy: OfferPolicy) -> NDArray[np.intp]:
        by_lifecycle = np.array([policy.rule_for(SEGMENTS[number]) for number in range(len(LIFECYCLES))])
        return np.asarray(by_lifecycle[self.world.users.lifecycle[self.sent.user]], dtype=np.intp)


def drawn_logs(world: World, *, by_utc_day: bool = False, scale: float = 1.0) -> list[DrawnLog]:
    """Return the logs of all campaigns that drew their offers; conversions are known by their delivery.

    Days are the users', on each of which offers were drawn alike, or those of UTC, which mix two of them.
    """
    sent_parts, bought_parts = [], []
    for events in generate_days(world, scale=scale):
        drawn = ~np.isnan(events.propensity)
        sent_parts.append(events.take(drawn & (events.kind == Kind.DELIVERED)))
        bought_parts.append(events.take(drawn & (events.kind == Kind.CONVERTED)))
    sent, bought = EventColumns.concatenate(sent_parts), EventColumns.concatenate(bought_parts)
    key = sent.day * _ROWS_A_DAY + sent.row
    order = np.argsort(key)
    place = order[np.searchsorted(key[order], bought.day * _ROWS_A_DAY + bought.row)]
    utc_day = sent.at // _DAY_SECONDS + _UNIX_EPOCH
    noon = world.noon_utc[world.users.city[sent.user], sent.day]
    whole = DrawnLog(
        world=world,
        campaign=-1,
        sent=sent,
        day=utc_day if by_utc_day else world.dates[0].toordinal() + sent.day,
        local_hour=np.asarray((sent.at - noon) // HOUR_SECONDS + _NOON, dtype=np.intp),
        conversions=np.bincount(place, minlength=len(sent)).astype(np.int64),
        revenue_micros=np.bincount(place, weights=bought.revenue_micros, minlength=len(sent)).astype(
            np.int64
        ),
    )
    return [
        replace(whole.take(sent.campaign == campaign), campaign=int(campaign))
        for campaign in np.unique(sent.campaign)
    ]


def propose(log: DrawnLog) -> Mapping[str, OfferPolicy]:
    """Return policies: the offer drawn most; less of it to loyal users, who buy anyway; either, drawn."""
    usual = log.usual_offer
    policies = {"the usual": _policy((usual,))}
    lower = usual - STEP_MICROS
    if lower in log.sent.offer_micros:
        policies["less to loyal users"] = _policy((usual,), loyal=(lower,))
        policies["either, drawn evenly"] = _policy((usual, lower))
    return policies


def never_drawn(log: DrawnLog) -> OfferPolicy:
    """Return a policy that the log cannot tell of: an offer between those that were drawn."""
    return _policy((log.usual_offer + MICROS,))


def _policy(offers: Sequence[int], *, loyal: Sequence[int] = ()) -> OfferPolicy:
    rules = [PolicyRule(segment_name=None, choices=_evenly(offers))]
    if loyal:
        rules.insert(0, PolicyRule(segment_name=LIFECYCLES[_LOYAL], choices=_evenly(loyal)))
    return OfferPolicy(rules=tuple(rules))


def _evenly(offers: Sequence[int]) -> tuple[OfferChoice, ...]:
    return tuple(OfferChoice(offer_micros=offer, probability=1.0 / len(offers)) for offer in offers)
