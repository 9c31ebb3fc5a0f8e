"""Logs of drawn offers whose policies' values are known exactly, in worlds that make intervals hard.

A user comes 1 to 2 v - 1 times, all numbers alike (v on average), in one of two contexts each time, drawn
evenly. The offer of 10, 15 or 20 is drawn by the context's propensities. The user converts with

    logit(probability) = logit(rate) + taste of the user + 0.2 (first context; else -0.2) + 0.08 (offer - 15)

tastes are normal. A conversion brings 0.8 of a log-normal revenue of 50 on average, less the offer. The value
of a policy is the expectation of a delivery's profit over users, visits and contexts; tastes are
integrated by Gauss-Hermite quadrature.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.policies.off_policy import LoggedRewards
from services.optimizer.domain.response.direct_model import cross_fit

OFFERS: Final = np.array([10.0, 15.0, 20.0])
_EARNED: Final = 0.8 * 50.0
_NODES, _MASSES = np.polynomial.hermite_e.hermegauss(41)
_CONTEXT: Final = np.array([-0.2, 0.2])
_EVENLY: Final = (1 / 3, 1 / 3, 1 / 3)


@dataclass(frozen=True, kw_only=True)
class PolicyWorld:
    """What logs are drawn from: `propensities` of the offers by context, `policy` is what is judged.

    `revenue_spread` is that of the logarithm of a conversion's revenue.
    """

    users: int
    visits: int = 3
    rate: float = 0.3
    taste: float = 0.6
    revenue_spread: float = 0.6
    propensities: tuple[tuple[float, float, float], tuple[float, float, float]] = (_EVENLY, _EVENLY)
    policy: tuple[float, float, float] = (0.0, 0.1, 0.9)

    @property
    def value(self) -> float:
        """The policy's profit per delivery."""
        return float(self._rewards() @ np.array(self.policy))

    @property
    def logged_value(self) -> float:
        """The profit per delivery of the offers as they are drawn."""
        return float(
            np.mean([by @ np.array(p) for by, p in zip(self._by_context(), self.propensities, strict=True)])
        )

    def draw(self, rng: np.random.Generator) -> LoggedRewards:
        """Return a log, weighed for the policy, with the reward model of the service."""
        user = np.repeat(np.arange(self.users), rng.integers(1, 2 * self.visits, self.users))
        count = len(user)
        taste, context = rng.normal(0.0, self.taste, self.users)[user], rng.integers(0, 2, count)
        propensities = np.array(self.propensities)[context]
        bounds = propensities.cumsum(axis=1)[:, :-1]
        action = np.sum(rng.random((count, 1)) > bounds, axis=1)
        offer, drawn_with = OFFERS[action], propensities[np.arange(count), action]
        converted = rng.random(count) < self._probability(taste, _CONTEXT[context], offer)
        luck = np.exp(self.revenue_spread * rng.normal(size=count) - self.revenue_spread**2 / 2.0)
        reward = converted * (_EARNED * luck - offer)
        policy = np.array(self.policy)
        model = cross_fit(reward, offer, context[:, np.newaxis].astype(np.float64), user)
        at_offers = np.column_stack([model.predict(np.full(count, each)) for each in OFFERS])
        return LoggedRewards(
            user=user,
            weight=policy[action] / drawn_with,
            reward=reward,
            predicted=at_offers[np.arange(count), action],
            predicted_for_policy=at_offers @ policy,
        )

    def _rewards(self) -> FloatArray:
        return np.asarray(self._by_context().mean(axis=0))

    def _by_context(self) -> FloatArray:
        """Return the profit per delivery by context and offer (2, 3)."""
        rates = self._probability(
            self.taste * _NODES[:, np.newaxis, np.newaxis], _CONTEXT[:, np.newaxis], OFFERS
        )
        return np.asarray(np.tensordot(_MASSES / _MASSES.sum(), rates, axes=1) * (_EARNED - OFFERS))

    def _probability(self, taste: FloatArray, context: FloatArray, offer: FloatArray) -> FloatArray:
        level = np.log(self.rate / (1.0 - self.rate))
        return np.asarray(1.0 / (1.0 + np.exp(-(level + taste + context + 0.08 * (offer - 15.0)))))


_UNEVEN: Final = ((0.5, 0.4, 0.1), (0.1, 0.4, 0.5))
_SELDOM: Final = ((0.45, 0.45, 0.1), (0.45, 0.45, 0.1))
_ALWAYS_20: Final = (0.0, 0.0, 1.0)
WORLDS: Final = {
    "300 logs": PolicyWorld(users=100),
    "3,000 logs": PolicyWorld(users=1_000),
    "uneven propensities, 600 logs": PolicyWorld(users=200, propensities=_UNEVEN, policy=_ALWAYS_20),
    "seldom drawn, each user once, 600 logs": PolicyWorld(
        users=600, visits=1, propensities=_SELDOM, policy=_ALWAYS_20
    ),
    "seldom drawn, 5 % convert, 3,000 logs": PolicyWorld(
        users=1_000, rate=0.05, propensities=_SELDOM, policy=_ALWAYS_20
    ),
    "very uneven, 5 % convert, 6,000 logs": PolicyWorld(
        users=2_000, rate=0.05, propensities=((0.8, 0.18, 0.02), (0.5, 0.45, 0.05)), policy=_ALWAYS_20
    ),
    "5 % convert, 600 logs": PolicyWorld(users=200, rate=0.05),
    "60 users, 20 visits each": PolicyWorld(users=60, visits=20, rate=0.1, taste=1.2),
    "150 users, 20 visits each, uneven": PolicyWorld(
        users=150, visits=20, rate=0.1, taste=1.2, propensities=_UNEVEN
    ),
}
"""Few and many logs, even and uneven propensities, rare conversions, users who come once or often."""
