"""Campaigns whose offer is changed, in worlds where what they earn before and after is known exactly.

Each day each user views with the same probability, and converts with

    logit(probability) = level + taste of the user + luck of the day + 0.08 (offer - 10)

tastes and lucks are normal. A conversion brings a log-normal revenue of 60 on average and costs the offer.
What is earned per view is the expectation over users and days, by Gauss-Hermite quadrature: the sum of taste
and luck is normal. The same users are there before and after; views do not depend on tastes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.recommendations.worth import EarningMoments, Level, Moments

IntArray = NDArray[np.intp]
MEAN_REVENUE: Final = 60.0
_NODES, _MASSES = np.polynomial.hermite_e.hermegauss(61)


@dataclass(frozen=True, kw_only=True)
class ChangeWorld:
    """What a change is drawn from: `taste` and `luck` are standard deviations, `offers` before and after."""

    users: int = 400
    days: int = 28
    view_probability: float = 0.1
    level: float = -1.5
    taste: float = 0.8
    luck: float = 0.0
    revenue_spread: float = 0.6
    gross_margin_rate: float = 0.6
    offers: tuple[float, float] = (10.0, 14.0)

    @property
    def profits(self) -> tuple[float, float]:
        """What a view earns before and after."""
        before, after = [self._profit(offer) for offer in self.offers]
        return before, after

    def draw(self, rng: np.random.Generator) -> EarningMoments:
        """Return the sums of one change."""
        taste = rng.normal(0.0, self.taste, self.users)
        sides = [self._draw_side(rng, taste, offer) for offer in self.offers]
        nothing = np.zeros_like(sides[0])
        cells = np.concatenate(
            [np.concatenate((sides[0], nothing), axis=2), np.concatenate((nothing, sides[1]), axis=2)], axis=1
        )
        conversions = [int(np.count_nonzero(side[:, :, 2])) for side in sides]
        return add_up(cells, (conversions[0], conversions[1]))

    def _draw_side(self, rng: np.random.Generator, taste: FloatArray, offer: float) -> FloatArray:
        """Return views, revenue and redeemed offers by user and day (users, days, 3)."""
        shape = self.users, self.days
        viewed = rng.random(shape) < self.view_probability
        luck = rng.normal(0.0, self.luck, self.days)
        converted = viewed & (rng.random(shape) < self._rate(taste[:, np.newaxis] + luck, offer))
        spread = self.revenue_spread
        revenue = MEAN_REVENUE * np.exp(spread * rng.normal(size=shape) - spread**2 / 2.0)
        return np.stack((viewed, converted * revenue, converted * offer), axis=2).astype(np.float64)

    def _rate(self, moved: FloatArray, offer: float) -> FloatArray:
        return np.asarray(1.0 / (1.0 + np.exp(-(self.level + moved + 0.08 * (offer - 10.0)))))

    def _profit(self, offer: float) -> float:
        rates = self._rate(np.hypot(self.taste, self.luck) * _NODES, offer)
        return float(rates @ _MASSES / _MASSES.sum() * (self.gross_margin_rate * MEAN_REVENUE - offer))


def add_up(cells: FloatArray, conversions: tuple[int, int]) -> EarningMoments:
    """Return the sums that the database makes of cells (users, days, 6), none of whose offers is unknown."""
    levels: Mapping[Level, FloatArray] = {
        Level.USER: cells.sum(axis=1),
        Level.DAY: cells.sum(axis=0),
        Level.USER_DAY: cells.reshape(-1, cells.shape[2]),
    }
    return EarningMoments(
        levels={
            level: Moments(
                clusters=(int(np.count_nonzero(rows[:, 0])), int(np.count_nonzero(rows[:, 3]))),
                sums=rows.sum(axis=0),
                products=rows.T @ rows,
            )
            for level, rows in levels.items()
        },
        conversions=conversions,
        unpriced=(0, 0),
    )


WORLDS: Final = {
    "400 users, 28 days": ChangeWorld(),
    "days have luck (0.3 of the logit)": ChangeWorld(luck=0.3),
    "the same, 7 days since and before": ChangeWorld(luck=0.3, days=7, view_probability=0.3),
    "60 users who come often": ChangeWorld(users=60, view_probability=0.6, taste=1.2),
    "5 % convert": ChangeWorld(level=-3.3, view_probability=0.2),
    "2 % convert, 40 conversions": ChangeWorld(level=-4.2, view_probability=0.18),
    "nothing changed": ChangeWorld(offers=(10.0, 10.0), luck=0.2),
}
"""Many and few users and days, days with luck of their own, and rare conversions."""
