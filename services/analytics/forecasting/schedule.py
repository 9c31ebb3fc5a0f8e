"""The portfolio as the sum of its campaigns, each as long as the catalog lets it run."""

from dataclasses import dataclass

import numpy as np

from services.analytics.forecasting.paths import CAMPAIGN_SCHEDULE, FIRST_ORIGIN, Paths
from services.analytics.forecasting.series import HORIZON, WEEK, Bools, Floats, Ints

_HALF_LIFE_WEEKS = 8.0
_POOLED_WEEKS = 0.3
_YOUNGEST_DAYS = 3


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The campaigns of a portfolio.

    `values` (campaigns, n) one measure by day; `presence` (campaigns, n + HORIZON) the share of each day on
    which each campaign runs; `starts` (campaigns) the index of its first day; `known` (campaigns) the index
    of the day from whose end on the catalog told of it.
    """

    values: Floats
    presence: Floats
    starts: Floats
    known: Floats


def campaign_schedule(schedule: Schedule) -> Paths:
    """Add up the weekday averages of the campaigns that run or are planned for each coming day.

    A campaign that is known but has not begun counts as the mean of those that run. The variance has three
    parts: the scatter of the days, the error of each campaign's own averages, and for campaigns still to
    begin how much campaigns differ and how well their mean is known.
    """
    days = schedule.values.shape[1]
    mean, variance = np.full((days, HORIZON), np.nan), np.full((days, HORIZON), np.nan)
    averages = _Averages(len(schedule.values))
    for day in range(days):
        runs = schedule.presence[:, day] * (schedule.starts <= day)
        averages.learn(schedule.values[:, day], runs, day % WEEK)
        settled = schedule.starts <= day - _YOUNGEST_DAYS
        recent = settled & (schedule.presence[:, max(day - WEEK, 0)] > 0)
        pool = recent if recent.any() else settled
        if day >= FIRST_ORIGIN and pool.any():
            ahead = np.arange(day + 1, day + 1 + HORIZON)
            begun, known = schedule.starts <= day, schedule.known <= day
            coming = schedule.presence[:, ahead] * (begun | known)[:, np.newaxis]
            coming = coming * (schedule.starts[:, np.newaxis] <= ahead)
            mean[day], variance[day] = averages.add_up(pool, coming, begun, ahead % WEEK)
    return Paths(method=CAMPAIGN_SCHEDULE, mean=mean, variance=variance)


class _Averages:
    """Each campaign's weekday averages as known so far, and how the days scatter around them."""

    def __init__(self, campaigns: int) -> None:
        self._sums, self._weights = np.zeros((campaigns, WEEK)), np.zeros((campaigns, WEEK))
        self._kept = 0.5 ** (1 / _HALF_LIFE_WEEKS)
        self._squares = self._expected = 0.0

    def learn(self, values: Floats, runs: Floats, weekday: int) -> None:
        """Take in a day: the values of all campaigns, and the share of the day on which each ran."""
        weeks = self._weights[:, weekday]
        judged = (weeks > 0) & (runs > 0)
        average = self._sums[judged, weekday] / weeks[judged]
        self._squares += float(((values[judged] - average) ** 2 / (1 + 1 / weeks[judged])).sum())
        self._expected += float(average.sum())
        self._sums[:, weekday] = self._kept * self._sums[:, weekday] + runs * values
        self._weights[:, weekday] = self._kept * weeks + runs

    def add_up(self, pool: Bools, coming: Floats, begun: Bools, weekdays: Ints) -> tuple[Floats, Floats]:
        """Return mean and variance (HORIZON each) of the campaigns' sum.

        Args:
            pool: the campaigns that stand for those still to begin.
            coming: (campaigns, HORIZON) the share of each day on which each campaign will run.
            begun: the campaigns with averages of their own.
            weekdays: of the coming days.
        """
        weeks = self._weights + _POOLED_WEEKS
        own = self._sums[pool].sum(axis=1) / self._weights[pool].sum(axis=1)
        pooled = self._sums[pool].sum() / self._weights[pool].sum()
        daily = ((self._sums + _POOLED_WEEKS * pooled) / weeks)[:, weekdays] * coming
        errors = np.where(begun[:, np.newaxis], daily / weeks[:, weekdays], 0.0).sum(axis=0)
        new = (coming * ~begun[:, np.newaxis]).sum(axis=0)
        spread = float(own.var(ddof=1)) if len(own) > 1 else float(own[0]) ** 2
        between = (new + new**2 / len(own)) * spread
        dispersion = self._squares / self._expected if self._squares > 0 < self._expected else 1.0
        mean = daily.sum(axis=0)
        return mean, mean + errors + between / dispersion
