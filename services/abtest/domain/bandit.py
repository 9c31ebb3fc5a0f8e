"""A bandit: traffic moves to the groups that do best, by Thompson sampling, until enough is known.

The weights of the next users are the posterior probabilities that each group is the best one, mixed with a
floor. Everything is integrated, nothing is drawn: the same counts give the same weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from services.abtest.domain.bandit_posteriors import Floats, Posterior, stratified_posteriors
from services.abtest.domain.contrasts import Sample
from services.abtest.domain.metrics import Metric
from services.abtest.domain.samples import Stratum

METHOD = "thompson_post_stratified"
"""How weights are reached, as answers carry it."""
SMALLEST_CHANGE = 0.01
"""Weights that would change by less are left: each change opens a weight epoch."""
LARGEST_GAIN = 100.0
"""A remaining gain over this is not told apart."""
_WEIGHT_DIGITS = 4
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(512)
_LEVELS = (_NODES + 1.0) / 2.0
_LEVEL_WEIGHTS = _NODE_WEIGHTS / 2.0
_BISECTIONS = 40


@dataclass(frozen=True, kw_only=True)
class BanditDesign:
    """How a bandit moves traffic, fixed at creation.

    `exploration_floor` is the least weight of a group. `stopping_gain` is relative to the leader's value.
    """

    exploration_floor: float
    refresh_interval_seconds: int
    minimum_users_per_group: int
    stopping_gain: float
    stopping_probability: float


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

    `posteriors` is None while some group's value is undefined, `probabilities_best` and `leader` also while
    some group has too few users. `next_weights` sum to 1.
    """

    posteriors: tuple[Posterior, ...] | None
    probabilities_best: tuple[float, ...] | None
    leader: Leader | None
    next_weights: tuple[float, ...]
    stops: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class BanditStep:
    """One refresh as it was kept; tuples are in the groups' order.

    `weights` are the propensities of who is assigned from then on, in `epoch`. `values` are the posterior
    means of the primary metric, None while undefined; `probabilities_best`, `leader_index` and
    `probability_gain_is_small` are None while some group had too few users.
    """

    number: int
    decided_at: datetime
    epoch: int
    weights_changed: bool
    weights: tuple[float, ...]
    users: tuple[int, ...]
    values: tuple[float, ...] | None
    probabilities_best: tuple[float, ...] | None
    leader_index: int | None
    probability_gain_is_small: float | None
    stopped: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class BanditEvidence:
    """What a bandit goes by: its metric's samples by weight epoch, and what else bears on its weights.

    `users` are all assigned users per group, and `weights` those in force. `ratio_mismatch` tells that groups
    have other shares than promised; nothing follows from their values then.
    """

    metric: Metric
    strata: Sequence[Stratum[Sample]]
    users: tuple[int, ...]
    weights: tuple[float, ...]
    ratio_mismatch: bool


def judge_bandit(design: BanditDesign, evidence: BanditEvidence) -> BanditState:
    """Return what is known of each group, the weights that follow, and whether the search is over.

    Weights stay where nothing may be learned.
    """
    posteriors = stratified_posteriors(evidence.metric, evidence.strata)
    held = _reason_to_hold(design, evidence)
    if posteriors is None or held is not None:
        return BanditState(
            posteriors=posteriors,
            probabilities_best=None,
            leader=None,
            next_weights=evidence.weights,
            stops=False,
            reason=held or "weights stay until every group's value is known to some extent",
        )
    sign = 1.0 if evidence.metric.higher_is_better else -1.0
    probabilities = probabilities_best(posteriors, sign=sign)
    leader = find_leader(posteriors, probabilities, design, sign=sign)
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


def _reason_to_hold(design: BanditDesign, evidence: BanditEvidence) -> str | None:
    fewest = min(evidence.users)
    if evidence.ratio_mismatch:
        return "the groups' sizes do not fit their weights (sample-ratio mismatch), so weights stay"
    if fewest < design.minimum_users_per_group:
        return f"weights stay until every group has {design.minimum_users_per_group} users; one has {fewest}"
    return None


def probabilities_best(posteriors: Sequence[Posterior], *, sign: float = 1.0) -> tuple[float, ...]:
    """Return for each group the probability that no other does better; they sum to 1.

    `sign` is -1 where lower values are better.

    Source: S. L. Scott (2010), Applied Stochastic Models in Business and Industry 26, 639-658, equation 5:
    the integral of the group's density times the others' distribution functions, here by Gauss-Legendre over
    the group's own quantiles.
    """
    raw = [_Rivals(posteriors, index, sign).unbeaten(0.0) for index in range(len(posteriors))]
    return tuple(value / sum(raw) for value in raw)


def find_leader(
    posteriors: Sequence[Posterior],
    probabilities: Sequence[float],
    design: BanditDesign,
    *,
    sign: float = 1.0,
) -> Leader:
    """Return the group that is most probably the best, and what is left to gain over it.

    Source: S. L. Scott (2015), Applied Stochastic Models in Business and Industry 31, 37-45, section 3.3: the
    value remaining, (best value - leader's value) / leader's value.
    """
    index = max(range(len(probabilities)), key=lambda each: probabilities[each])
    rivals = _Rivals(posteriors, index, sign)
    return Leader(
        group_index=index,
        probability_gain_is_small=rivals.unbeaten(design.stopping_gain),
        remaining_gain=_find_remaining_gain(rivals, design.stopping_probability),
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


class _Rivals:
    """A group against all others, over the quantiles of its own value."""

    def __init__(self, posteriors: Sequence[Posterior], index: int, sign: float) -> None:
        self._quantiles = posteriors[index].quantiles(_LEVELS)
        self._others = [posterior for other, posterior in enumerate(posteriors) if other != index]
        self._sign = sign

    def unbeaten(self, gain: float) -> float:
        """Return the probability that no other value is better by more than this relative gain."""
        bounds: Floats = self._quantiles + self._sign * gain * np.abs(self._quantiles)
        product = np.ones_like(bounds)
        for other in self._others:
            below = other.distribution(bounds)
            product *= below if self._sign > 0.0 else 1.0 - below
        return min(1.0, float(_LEVEL_WEIGHTS @ product))


def _find_remaining_gain(rivals: _Rivals, probability: float) -> float | None:
    """Return the least gain that is not exceeded with `probability`, by bisection."""
    if rivals.unbeaten(LARGEST_GAIN) < probability:
        return None
    if rivals.unbeaten(0.0) >= probability:
        return 0.0
    lower, upper = 0.0, LARGEST_GAIN
    for _ in range(_BISECTIONS):
        middle = (lower + upper) / 2.0
        if rivals.unbeaten(middle) >= probability:
            upper = middle
        else:
            lower = middle
    return upper
