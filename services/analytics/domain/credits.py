"""The credits of one month in one currency, added up block by block of users."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.analytics.domain.attribution import MICRO, RULES, Integers, allocate, scale_weights
from services.analytics.domain.journeys import (
    NO_CAMPAIGN,
    Flags,
    Moments,
    Paths,
    count_runs,
    find_paths,
    find_vain_touches,
    list_steps,
)
from services.analytics.domain.markov import Transitions, find_removal_effects

GROUPS = 20
"""Groups of users whose credits are left out one after the other, see `shares.py`; statements count on it."""
MAXIMUM_REPEATED_CAMPAIGNS = 1500
"""With more campaigns than this in a month the chain is solved once, and `markov` has no interval: a solution
takes as many operations as the cube of their number, and an interval takes twenty."""


@dataclass(frozen=True, kw_only=True)
class Credits:
    """One model's credits by day (rows) and campaign (columns, from number 1).

    `without_group` has the conversions once more for each group of users that is left out; None where
    unknown.
    """

    microconversions: Integers
    revenue: Integers
    without_group: NDArray[np.float64] | None = None


@dataclass(frozen=True, kw_only=True)
class MonthCredits:
    """What was divided by day, and among whom by model.

    `counted` is what names the campaign, `direct` the part of it without a touch of the campaign.
    """

    conversions: Integers
    direct_conversions: Integers
    touched_purchases: Integers
    revenue: Integers
    conversions_without_group: Integers
    counted: Credits
    direct: Credits
    models: Mapping[str, Credits]


class MonthLedger:
    """Takes in blocks of whole users' moments in one currency and gives the credits of the month.

    Args:
        campaigns: how many campaigns the currency has.
        first_day, last_day: the month, both included, as numbers of days.
        lookback_micros: the lookback window.
    """

    def __init__(self, *, campaigns: int, first_day: int, last_day: int, lookback_micros: int) -> None:
        self._campaigns = campaigns
        self._first_day, self._last_day = first_day, last_day
        self._lookback = lookback_micros
        self._days = last_day - first_day + 1
        shape = (self._days, campaigns)
        self._micro = {rule: np.zeros((*shape, GROUPS), dtype=np.int64) for rule in RULES}
        self._money = {rule: np.zeros(shape, dtype=np.int64) for rule in RULES}
        self._own = {kind: np.zeros(shape, dtype=np.int64) for kind in ("counted", "direct")}
        self._own_money = {kind: np.zeros(shape, dtype=np.int64) for kind in ("counted", "direct")}
        self._conversions = np.zeros((self._days, GROUPS), dtype=np.int64)
        self._purchases = np.zeros(self._days, dtype=np.int64)
        self._revenue = np.zeros(self._days, dtype=np.int64)
        self._steps: list[tuple[Integers, Integers, Integers]] = []

    def add(self, moments: Moments) -> None:
        """Add the moments of some users, all of each user's; ordered as `Moments` says."""
        paths = find_paths(moments, self._lookback, self._first_day, self._last_day)
        conversions = paths.conversions
        converted = self._campaigns + 1
        self._keep(list_steps(paths.campaigns, paths.lengths, conversions.groups, converted))
        vain = find_vain_touches(moments, self._lookback, self._first_day, self._last_day)
        runs = count_runs(vain.users)
        ends = np.cumsum(runs) - 1
        self._keep(list_steps(vain.campaigns, runs, vain.groups[ends], converted + 1))
        day = conversions.days - self._first_day
        np.add.at(self._conversions, (day, conversions.groups), 1)
        np.add.at(self._purchases, day, (conversions.campaigns == NO_CAMPAIGN).astype(np.int64))
        np.add.at(self._revenue, day, conversions.revenue)
        self._count_own("counted", conversions, conversions.campaigns != NO_CAMPAIGN)
        self._count_own("direct", conversions, paths.is_direct)
        self._divide(paths)

    def _keep(self, steps: tuple[Integers, Integers, Integers]) -> None:
        if steps[0].size:
            self._steps.append(steps)

    def _count_own(self, kind: str, conversions: Moments, chosen: Flags) -> None:
        at = (conversions.days[chosen] - self._first_day, conversions.campaigns[chosen] - 1)
        np.add.at(self._own[kind], at, MICRO)
        np.add.at(self._own_money[kind], at, conversions.revenue[chosen])

    def _divide(self, paths: Paths) -> None:
        lengths, revenue = paths.lengths, paths.conversions.revenue
        path = np.repeat(np.arange(lengths.size), lengths)
        day = (paths.conversions.days - self._first_day)[path]
        group = paths.conversions.groups[path]
        campaign = paths.campaigns - 1
        ones = np.full(lengths.size, MICRO, dtype=np.int64)
        for rule, weigh in RULES.items():
            weights = weigh(lengths, paths.ages)
            np.add.at(self._micro[rule], (day, campaign, group), allocate(ones, weights, lengths))
            np.add.at(self._money[rule], (day, campaign), allocate(revenue, weights, lengths))

    def close(self) -> MonthCredits:
        """Return the credits of everything that was added."""
        conversions = self._conversions.sum(axis=1)
        without = conversions[:, None] - self._conversions
        models = {rule: self._close_rule(rule) for rule in RULES}
        models["markov"] = self._close_markov(conversions, without)
        return MonthCredits(
            conversions=conversions,
            direct_conversions=self._own["direct"].sum(axis=1) // MICRO,
            touched_purchases=self._purchases,
            revenue=self._revenue,
            conversions_without_group=without,
            counted=Credits(microconversions=self._own["counted"], revenue=self._own_money["counted"]),
            direct=Credits(microconversions=self._own["direct"], revenue=self._own_money["direct"]),
            models=models,
        )

    def _close_rule(self, rule: str) -> Credits:
        groups = self._micro[rule]
        total = groups.sum(axis=2)
        return Credits(
            microconversions=total,
            revenue=self._money[rule],
            without_group=(total[:, :, None] - groups).astype(np.float64),
        )

    def _close_markov(self, conversions: Integers, without: Integers) -> Credits:
        """Divide each day's conversions and revenue in proportion to the month's removal effects."""
        transitions = Transitions.of(self._campaigns, self._steps)
        shares = _find_shares(transitions)
        if not shares.any():
            empty = np.zeros((self._days, self._campaigns), dtype=np.int64)
            return Credits(microconversions=empty, revenue=empty)
        lengths = np.full(self._days, self._campaigns, dtype=np.int64)
        weights = scale_weights(np.tile(shares, self._days), lengths)
        shape = (self._days, self._campaigns)
        repeated = None
        if np.count_nonzero(shares) <= MAXIMUM_REPEATED_CAMPAIGNS:
            others = np.stack([_find_shares(transitions, group) for group in range(GROUPS)], axis=1)
            repeated = without[:, None, :] * others[None, :, :] * MICRO
        return Credits(
            microconversions=allocate(conversions * MICRO, weights, lengths).reshape(shape),
            revenue=allocate(self._revenue, weights, lengths).reshape(shape),
            without_group=repeated,
        )


def _find_shares(transitions: Transitions, without_group: int | None = None) -> NDArray[np.float64]:
    """Return each campaign's part of all removal effects; all 0 where nothing converted."""
    effects = find_removal_effects(transitions.to_matrix(without_group))
    total = effects.sum()
    return effects / total if total > 0 else effects
