"""A bandit: traffic moves to the groups that convert best, by Thompson sampling, until enough is known.

The weights of the next users are the posterior probabilities that each group is the best one, mixed with a
floor. Everything is integrated, nothing is drawn: the same counts give the same weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
from scipy import special

from services.abtest.domain.model import EpochCounts, total_by_group

METHOD = "thompson_beta_post_stratified"
"""How posteriors are reached, as answers carry it."""
SMALLEST_CHANGE = 0.01
"""Weights that would change by less are left: each change opens a weight epoch."""
LARGEST_GAIN = 100.0
"""A remaining gain over this is not told apart."""
_WEIGHT_DIGITS = 4
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(512)
_LEVELS = (_NODES + 1.0) / 2.0
_LEVEL_WEIGHTS = _NODE_WEIGHTS / 2.0
_INTERVAL_TAILS = (0.025, 0.975)
_BISECTIONS = 40

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class BanditDesign:
    """How a bandit moves traffic, fixed at creation.

    `exploration_floor` is the least weight of a group. `stopping_gain` is relative to the leader's rate.
    """

    exploration_floor: float
    refresh_interval_seconds: int
    minimum_users_per_group: int
    stopping_gain: float
    stopping_probability: float


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """A beta posterior of a conversion rate."""

    alpha: float
    beta: float

    @property
    def mean(self) -> float:
        """The rate expected."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def credible_interval(self) -> tuple[float, float]:
        """Where the rate lies with 95 % probability, equal tails."""
        lower, upper = special.betaincinv(self.alpha, self.beta, _INTERVAL_TAILS)
        return float(lower), float(upper)


@dataclass(frozen=True, kw_only=True)
class Leader:
    """The group that is most probably the best, and what may be left to gain over it.

    `probability_gain_is_small` is that no group beats it by more than the design's stopping gain.
    `remaining_gain` is the relative gain that is not exceeded with the design's stopping probability, None
    over `LARGEST_GAIN`.
    """

    group_index: int
    probability_gain_is_small: float
    remaining_gain: float | None


@dataclass(frozen=True, kw_only=True)
class BanditState:
    """What a bandit knows and would do now.

    `probabilities_best` and `leader` are None while some group has too few users. `next_weights` sum to 1.
    """

    posteriors: tuple[Posterior, ...]
    probabilities_best: tuple[float, ...] | None
    leader: Leader | None
    next_weights: tuple[float, ...]
    stops: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class BanditStep:
    """One refresh as it was kept; tuples are in the groups' order.

    `weights` are the propensities of who is assigned from then on, in `epoch`. `probabilities_best`,
    `leader_index` and `probability_gain_is_small` are None while some group had too few users.
    """

    number: int
    decided_at: datetime
    epoch: int
    weights_changed: bool
    weights: tuple[float, ...]
    users: tuple[int, ...]
    conversions: tuple[int, ...]
    probabilities_best: tuple[float, ...] | None
    leader_index: int | None
    probability_gain_is_small: float | None
    stopped: bool
    reason: str


def judge_bandit(
    design: BanditDesign,
    epochs: Sequence[EpochCounts],
    *,
    weights: Sequence[float],
    ratio_mismatch: bool,
) -> BanditState:
    """Return what is known of each group, the weights that follow, and whether the search is over.

    Args:
        design: what was fixed at creation.
        epochs: users and converting users of each group by weight epoch.
        weights: those in force, which stay where nothing may be learned.
        ratio_mismatch: whether groups have other shares than promised; nothing follows from their rates then.
    """
    posteriors = stratified_posteriors(epochs, len(weights))
    fewest = min(counts.users for counts in total_by_group(epochs, len(weights)))
    held = _reason_to_hold(design, fewest, ratio_mismatch)
    if held is not None:
        return BanditState(
            posteriors=posteriors,
            probabilities_best=None,
            leader=None,
            next_weights=tuple(weights),
            stops=False,
            reason=held,
        )
    probabilities = probabilities_best(posteriors)
    leader = find_leader(posteriors, probabilities, design)
    stops = leader.probability_gain_is_small >= design.stopping_probability
    said = f"{100 * leader.probability_gain_is_small:.1f} % sure that no group gains more than"
    return BanditState(
        posteriors=posteriors,
        probabilities_best=probabilities,
        leader=leader,
        next_weights=allocate(probabilities, design.exploration_floor),
        stops=stops,
        reason=f"{said} {100 * design.stopping_gain:g} % over the leader"
        + ("" if stops else f"; it ends at {100 * design.stopping_probability:g} %"),
    )


def _reason_to_hold(design: BanditDesign, fewest: int, ratio_mismatch: bool) -> str | None:
    if ratio_mismatch:
        return "the groups' sizes do not fit their weights (sample-ratio mismatch), so weights stay"
    if fewest < design.minimum_users_per_group:
        return f"weights stay until every group has {design.minimum_users_per_group} users; one has {fewest}"
    return None


def stratified_posteriors(epochs: Sequence[EpochCounts], groups: int) -> tuple[Posterior, ...]:
    """Return each group's posterior under a uniform prior, post-stratified over weight epochs.

    A bandit's weights follow its outcomes, so rates pooled over epochs mix up groups and times: whoever had
    more traffic on a good day looks better, and users assigned just now, who had no time to convert, pull the
    leader down. So every epoch weighs alike for all groups, by the harmonic mean of the groups' users, and a
    group counts as many users as give the stratified rate's variance. With one epoch it is the beta-binomial
    posterior itself.

    Source: A. Gelman et al. (2013), Bayesian Data Analysis, 3rd ed., section 2.4 (beta-binomial); weights
    as W. G. Cochran (1954), Biometrics 10, 417-451; effective users as L. Kish (1965), Survey Sampling,
    section 11.7.

    >>> from services.abtest.domain.model import GroupCounts
    >>> counts = (GroupCounts(users=100, conversions=10), GroupCounts(users=50, conversions=9))
    >>> stratified_posteriors([EpochCounts(epoch=1, weights=(0.7, 0.3), groups=counts)], 2)[1]
    Posterior(alpha=10.0, beta=42.0)
    """
    users = np.array([[counts.users for counts in epoch.groups] for epoch in epochs], dtype=np.float64)
    conversions = np.array([[counts.conversions for counts in epoch.groups] for epoch in epochs], dtype=float)
    usable = users.all(axis=1) if users.size else np.zeros(0, dtype=bool)
    if not usable.any():
        return (Posterior(alpha=1.0, beta=1.0),) * groups
    users, conversions = users[usable], conversions[usable]
    shares = 1.0 / (1.0 / users).sum(axis=1)
    shares = (shares / shares.sum())[:, None]
    rates = (shares * conversions / users).sum(axis=0)
    effective = 1.0 / (shares**2 / users).sum(axis=0)
    return tuple(
        Posterior(alpha=round(1.0 + rate * size, 9), beta=round(1.0 + (1.0 - rate) * size, 9))
        for rate, size in zip(rates.tolist(), effective.tolist(), strict=True)
    )


def probabilities_best(posteriors: Sequence[Posterior]) -> tuple[float, ...]:
    """Return for each group the probability that no other converts better; they sum to 1.

    Source: S. L. Scott (2010), Applied Stochastic Models in Business and Industry 26, 639-658, equation 5:
    the integral of the group's density times the others' distribution functions, here by Gauss-Legendre over
    the group's own quantiles.
    """
    raw = [_probability_unbeaten(posteriors, index, 0.0) for index in range(len(posteriors))]
    return tuple(value / sum(raw) for value in raw)


def find_leader(
    posteriors: Sequence[Posterior], probabilities: Sequence[float], design: BanditDesign
) -> Leader:
    """Return the group that is most probably the best, and what is left to gain over it.

    Source: S. L. Scott (2015), Applied Stochastic Models in Business and Industry 31, 37-45, section 3.3: the
    value remaining, (best rate - leader's rate) / leader's rate.
    """
    index = max(range(len(probabilities)), key=lambda each: probabilities[each])
    small = _probability_unbeaten(posteriors, index, design.stopping_gain)
    return Leader(
        group_index=index,
        probability_gain_is_small=small,
        remaining_gain=_find_remaining_gain(posteriors, index, design.stopping_probability),
    )


def allocate(probabilities: Sequence[float], floor: float) -> tuple[float, ...]:
    """Return the weights: the floor for each group, and the rest by the probabilities of being the best.

    Rounded to the hash's 10,000 buckets; the largest takes what rounding leaves, so that they sum to 1.

    >>> allocate([0.0, 0.25, 0.75], 0.05)
    (0.05, 0.2625, 0.6875)
    """
    rest = 1.0 - len(probabilities) * floor
    weights = [round(floor + rest * each, _WEIGHT_DIGITS) for each in probabilities]
    largest = max(range(len(weights)), key=lambda index: weights[index])
    weights[largest] = round(weights[largest] + 1.0 - sum(weights), _WEIGHT_DIGITS)
    return tuple(weights)


def differ(weights: Sequence[float], others: Sequence[float]) -> bool:
    """Return whether weights differ so much that a new epoch is worth it."""
    return max(abs(a - b) for a, b in zip(weights, others, strict=True)) >= SMALLEST_CHANGE


def _probability_unbeaten(posteriors: Sequence[Posterior], index: int, gain: float) -> float:
    """Return the probability that no other rate exceeds the one at `index` by more than the relative gain."""
    return _integrate(posteriors, index, _quantiles(posteriors[index]), gain)


def _quantiles(posterior: Posterior) -> Floats:
    quantiles: Floats = special.betaincinv(posterior.alpha, posterior.beta, _LEVELS)
    return quantiles


def _integrate(posteriors: Sequence[Posterior], index: int, quantiles: Floats, gain: float) -> float:
    bounds = np.minimum(1.0, quantiles * (1.0 + gain))
    unbeaten = np.ones_like(bounds)
    for other, posterior in enumerate(posteriors):
        if other != index:
            unbeaten *= special.betainc(posterior.alpha, posterior.beta, bounds)
    return min(1.0, float(_LEVEL_WEIGHTS @ unbeaten))


def _find_remaining_gain(posteriors: Sequence[Posterior], index: int, probability: float) -> float | None:
    """Return the least gain that is not exceeded with `probability`, by bisection."""
    quantiles = _quantiles(posteriors[index])
    if _integrate(posteriors, index, quantiles, LARGEST_GAIN) < probability:
        return None
    if _integrate(posteriors, index, quantiles, 0.0) >= probability:
        return 0.0
    lower, upper = 0.0, LARGEST_GAIN
    for _ in range(_BISECTIONS):
        middle = (lower + upper) / 2.0
        if _integrate(posteriors, index, quantiles, middle) >= probability:
            upper = middle
        else:
            lower = middle
    return upper
