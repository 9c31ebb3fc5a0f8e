"""Small worlds for the gains of segments: users in overlapping segments meet campaigns that lean on them.

    logit(probability) = campaign + offer + the user's segments + taste of the user

Tastes are normal. Of a user's segments one is a group of several, and another cuts across these. Offers lean:
who converts more is sent the lower ones. What is true is of these campaigns' views as they fell: the rates of
the equations over tastes (Gauss-Hermite quadrature), the segment's over everybody's at the same offers.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from scipy.special import expit

from examples.simulated_world.population import IntArray
from examples.simulated_world.response import FloatArray
from services.optimizer.domain.segments.offer_mix import OfferViewers, compare_at_offers
from services.optimizer.domain.segments.segments import SegmentRate, SegmentSums, rate_segments
from services.optimizer.domain.send_time.counts import Sendings
from services.optimizer.domain.send_time.recurrence import measure_recurrence

OFFER_EFFECTS: Final[FloatArray] = np.array([0.0, 0.7, 1.4])
CROSSING_SHARE: Final = 0.3
SAMPLE_USERS: Final = 2_000
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(31)


@dataclass(frozen=True, kw_only=True)
class SegmentEquations:
    """How large such a world is and what moves conversions in it.

    `recurring` users meet every campaign's draw; None: each campaign has users of its own. `reached` users a
    campaign on average, unevenly where `is_uneven`, as groups' sizes are then. `views` per user and campaign.
    """

    campaigns: int = 20
    reached: int = 400
    recurring: int | None = None
    groups: int = 3
    is_uneven: bool = True
    views: float = 1.0
    level: float = -1.0
    of_segment: float = 0.35
    of_taste: float = 0.25
    lean: float = 1.0


@dataclass(frozen=True, kw_only=True)
class _Campaign:
    """Who was reached, their views and conversions at each offer (users, offers), and the true rates.

    `rates` (offers, sets) are of sets of segments.
    """

    users: IntArray
    views: FloatArray
    conversions: FloatArray
    rates: FloatArray


@dataclass(frozen=True, kw_only=True)
class SegmentWorld:
    """What happened: the users' `sets`; set 2 g + o is the group g, with the crossing segment if o is 1."""

    equations: SegmentEquations
    sets: IntArray
    campaigns: tuple[_Campaign, ...]

    @classmethod
    def build(cls, rng: np.random.Generator, equations: SegmentEquations) -> Self:
        """Draw a world."""
        share = np.maximum(
            rng.dirichlet(np.full(equations.groups, 1.0 if equations.is_uneven else 50.0)), 0.03
        )
        count = equations.recurring or equations.reached * equations.campaigns
        group = rng.choice(equations.groups, count, p=share / share.sum())
        sets = 2 * group + (rng.random(count) < CROSSING_SHARE)
        effects = rng.normal(0.0, equations.of_segment, equations.groups + 1)
        of_sets = np.repeat(effects[:-1], 2) + np.tile([0.0, effects[-1]], equations.groups)
        taste, eagerness = (
            rng.normal(0.0, equations.of_taste, count),
            rng.gamma(2.0, equations.views / 2.0, count),
        )
        made = []
        for campaign in range(equations.campaigns):
            level = equations.level + rng.normal(0.0, 0.4)
            users = _reach(rng, equations, campaign, count)
            lean = -equations.lean * of_sets[sets[users]] / equations.of_segment
            chance = np.exp(np.outer(lean, [0.0, 0.5, 1.0])) * rng.dirichlet([2.0, 2.0, 2.0])
            views = rng.poisson(eagerness[users, np.newaxis] * chance / chance.sum(axis=1, keepdims=True))
            logits = level + OFFER_EFFECTS + (of_sets[sets] + taste)[users, np.newaxis]
            at_nodes = level + OFFER_EFFECTS[:, np.newaxis, np.newaxis] + of_sets[:, np.newaxis]
            over_tastes = expit(at_nodes + equations.of_taste * _NODES) @ _WEIGHTS / _WEIGHTS.sum()
            made.append(
                _Campaign(
                    users=users,
                    views=views.astype(np.float64),
                    conversions=rng.binomial(views, expit(logits)).astype(np.float64),
                    rates=over_tastes,
                )
            )
        return cls(equations=equations, sets=sets, campaigns=tuple(made))

    @property
    def members(self) -> FloatArray:
        """Whether a set (sets) is in a segment (segments): the groups, then the one that cuts across."""
        groups = np.repeat(np.eye(self.equations.groups), 2, axis=0)
        return np.column_stack([groups, np.tile([0.0, 1.0], self.equations.groups)])

    def rate(self) -> list[SegmentRate]:
        """What the service makes of it: by what analytics sums up, and by a sample of 2,000 users."""
        compared = compare_at_offers(self._sums(), self._viewers(), self._names())
        return rate_segments(compared, self._recurrence())

    def true_rates(self) -> tuple[FloatArray, FloatArray]:
        """The segments' rates, and everybody's at their offers, both of their views as they fell."""
        own, everybody, viewed = np.zeros((3, self.equations.groups + 1))
        for campaign in self.campaigns:
            views = self._by_set(campaign, campaign.views)
            mean = campaign.rates @ views.sum(axis=0) / views.sum()
            own += (views * campaign.rates).sum(axis=0) @ self.members
            everybody += (views * mean[:, np.newaxis]).sum(axis=0) @ self.members
            viewed += views.sum(axis=0) @ self.members
        return own / viewed, everybody / viewed

    def _by_set(self, campaign: _Campaign, counts: FloatArray) -> FloatArray:
        """Counts (offers, sets)."""
        sets = self.sets[campaign.users]
        return np.array([np.bincount(sets, column, len(self.members)) for column in counts.T])

    def _names(self) -> dict[int, tuple[str, ...]]:
        return {
            place + 1: tuple(f"s{segment}" for segment in np.flatnonzero(row))
            for place, row in enumerate(self.members)
        }

    def _sums(self) -> list[SegmentSums]:
        found = []
        for number, campaign in enumerate(self.campaigns):
            views, conversions = campaign.views.sum(axis=1), campaign.conversions.sum(axis=1)
            for segment in range(self.equations.groups + 1):
                inside = (self.members[self.sets[campaign.users], segment] > 0.0) & (views > 0.0)
                x, y = views[inside], conversions[inside]
                found.append(
                    SegmentSums(
                        campaign_id=str(number),
                        segment_name=f"s{segment}",
                        users=len(x),
                        views=int(x.sum()),
                        conversions=int(y.sum()),
                        views_views=int(x @ x),
                        views_conversions=int(x @ y),
                        conversions_conversions=int(y @ y),
                        campaign_views=int(views.sum()),
                        campaign_conversions=int(conversions.sum()),
                    )
                )
        return found

    def _viewers(self) -> list[OfferViewers]:
        found = []
        for number, campaign in enumerate(self.campaigns):
            views = self._by_set(campaign, campaign.views)
            rates = campaign.conversions.sum(axis=0) / np.maximum(campaign.views.sum(axis=0), 1.0)
            found += [
                OfferViewers(
                    campaign_id=str(number),
                    offer_amount_micros=int(offer),
                    segment_set_id=int(place) + 1,
                    views=int(views[offer, place]),
                    rate=float(rates[offer]),
                )
                for offer, place in zip(*np.nonzero(views), strict=True)
            ]
        return found

    def _recurrence(self) -> float | None:
        """By a sample of users, as the job that keeps send times measures it."""
        sampled = np.arange(len(self.sets)) < SAMPLE_USERS
        kept = [sampled[campaign.users] for campaign in self.campaigns]
        pairs = list(zip(self.campaigns, kept, strict=True))
        user = np.concatenate([campaign.users[inside] for campaign, inside in pairs])
        nothing = np.zeros(len(user), dtype=np.intp)
        views = np.concatenate([campaign.views.sum(axis=1)[inside] for campaign, inside in pairs])
        sendings = Sendings(
            user=user,
            campaign=np.repeat(np.arange(len(kept)), [int(inside.sum()) for inside in kept]),
            campaign_type=nothing,
            weekday=nothing,
            hour=nothing,
            deliveries=views,
            views=views,
            conversions=np.concatenate(
                [campaign.conversions.sum(axis=1)[inside] for campaign, inside in pairs]
            ),
        )
        return measure_recurrence(sendings, self.sets.tolist())[0]


def _reach(rng: np.random.Generator, equations: SegmentEquations, campaign: int, count: int) -> IntArray:
    """Who meets a campaign: its own users, or a draw from all."""
    if equations.recurring is None:
        return np.arange(campaign * equations.reached, (campaign + 1) * equations.reached)
    size = equations.reached * float(np.exp(rng.normal(0.0, 0.8 if equations.is_uneven else 0.0)))
    return rng.choice(count, min(int(size), count), replace=False)
