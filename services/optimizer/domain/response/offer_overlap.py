"""Which logged deliveries could have got the offers of a policy.

What was never possible cannot be weighed: no estimate corrects for it, and the mean weight, which would
fall below 1, is too noisy to tell where offers were drawn seldom. So it is looked for in what was drawn:
propensities that add up to 1 leave room for nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from services.optimizer.domain.features import BoolArray, FloatArray
from services.optimizer.domain.response.decision_table import DecisionTable, IntArray

WHOLE: Final = 1e-6
"""Propensities that add up to 1 within this are all that there are."""
NEVER_BY_CHANCE: Final = 0.01
"""A campaign that never drew an offer could not, where chance would have had it so less often than this."""


class Drawn(Protocol):
    """Offers that were drawn, as aligned arrays: of decisions, or of groups of equal ones."""

    @property
    def offer_micros(self) -> NDArray[np.int64]:
        """The offers."""
        ...

    @property
    def propensity(self) -> FloatArray:
        """How likely each was."""
        ...


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Groups of decisions, numbered from 0, and the offers that each group drew.

    `group` is by decision; `owner`, `offer` (micros) and `propensity`, the greatest, by group and offer;
    `is_complete` by group: its offers have one propensity each, and together 1.
    """

    group: IntArray
    owner: IntArray
    offer: NDArray[np.int64]
    propensity: FloatArray
    is_complete: BoolArray

    def lacks(self, wanted: Sequence[int]) -> BoolArray:
        """Return the decisions (n) whose group did not draw all the offers wanted."""
        found = np.bincount(self.owner, weights=np.isin(self.offer, wanted), minlength=len(self.is_complete))
        return np.asarray((found < len(wanted))[self.group])


def find_covered(wanted: Sequence[Sequence[int]], table: DecisionTable, rule: IntArray) -> BoolArray:
    """Return the decisions at which nothing shows that an offer wanted was impossible (n).

    `wanted` has the offers of each rule, and `rule` numbers the one of each decision. Decisions made alike
    (`_groups`), whose offers each had one propensity, and all together 1, could make no other offer. A
    campaign under one logging policy that never drew an offer could not either, where the offer's least
    propensity elsewhere makes that so unlikely by chance. Where neither shows, the decision stays: to leave
    out what a draw happened not to bring would bias what is left.
    """
    covered = np.ones(len(table), dtype=np.bool_)
    draws = [find_draws(group, table) for group in _groups(table)]
    policies = number_rows(table.campaign, table.version)
    for number, offers in enumerate(wanted):
        own = rule == number
        for drawn in draws:
            covered &= ~(own & drawn.is_complete[drawn.group] & drawn.lacks(offers))
        for offer in offers:
            covered &= ~(own & _never_drawn(offer, policies, table))
    return covered


def _groups(table: DecisionTable) -> list[IntArray]:
    """Return the decisions made alike, three ways.

    The days of a campaign under one logging policy; days that share an offer of the same propensity, since a
    day's few draws may not have brought all its offers; and the same for each set of segments on its own.
    """
    policies = number_rows(table.campaign, table.version)
    by_segments = number_rows(policies, table.segment_set)
    return [
        number_rows(policies, table.day),
        *(find_regimes(number_rows(within, table.day), within, table) for within in (policies, by_segments)),
    ]


def find_regimes(strata: IntArray, within: IntArray, table: Drawn) -> IntArray:
    """Return strata joined where they drew the same offer with the same propensity, each named by a number.

    Only strata of the same number in `within` are joined. Connected components of strata and what they drew:
    each takes the least number of its neighbours until nothing changes.
    """
    propensity = np.round(table.propensity / WHOLE).astype(np.int64)
    drawn = number_rows(within, table.offer_micros, propensity)
    edges = np.unique(np.column_stack((strata, drawn)), axis=0)
    stratum, made = edges[:, 0], edges[:, 1]
    label = np.arange(int(stratum.max()) + 1)
    while True:
        least = np.full(int(made.max()) + 1, len(label))
        np.minimum.at(least, made, label[stratum])
        joined = label.copy()
        np.minimum.at(joined, stratum, least[made])
        if np.array_equal(joined, label):
            return number_rows(label[strata])
        label = joined


def number_rows(*columns: NDArray[np.int64] | IntArray) -> IntArray:
    """Return the number of each row of aligned columns (n), from 0, equal rows alike."""
    _, number = np.unique(np.column_stack(columns), axis=0, return_inverse=True)
    return np.asarray(number.ravel(), dtype=np.intp)


def find_draws(group: IntArray, table: Drawn) -> Draws:
    """Return what each group of decisions, numbered from 0, drew."""
    made, place = np.unique(np.column_stack((group, table.offer_micros)), axis=0, return_inverse=True)
    lowest, highest = np.full(len(made), np.inf), np.zeros(len(made))
    np.minimum.at(lowest, place.ravel(), table.propensity)
    np.maximum.at(highest, place.ravel(), table.propensity)
    owner = made[:, 0].astype(np.intp)
    known = np.bincount(owner, weights=highest)
    varied = np.bincount(owner, weights=highest - lowest > WHOLE)
    return Draws(
        group=group,
        owner=owner,
        offer=made[:, 1],
        propensity=highest,
        is_complete=np.asarray((np.abs(known - 1.0) <= WHOLE) & (varied == 0)),
    )


def _never_drawn(offer: int, policies: IntArray, table: DecisionTable) -> BoolArray:
    """Return the decisions (n) of a campaign under one logging policy that by no chance never drew an offer.

    Chance is reckoned with the least propensity of the offer anywhere; where it was drawn nowhere there is
    none, and other things refuse it.
    """
    is_offer = table.offer_micros == offer
    if not is_offer.any():
        return np.zeros(len(table), dtype=np.bool_)
    least = float(table.propensity[is_offer].min())
    counts, drawn = np.bincount(policies), np.bincount(policies, weights=is_offer)
    impossible = (drawn == 0) & (np.power(1.0 - least, counts) < NEVER_BY_CHANCE)
    return np.asarray(impossible[policies])
