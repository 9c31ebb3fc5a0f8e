"""Simulated tests: users and conversions of every group at every look, and where a verdict may fall.

Most looks of most tests are far from any verdict. They are told apart here for all tests at once; only the
others are worth asking the decision method itself, which takes a thousand times as long.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from services.abtest.domain.contrasts import SMALL_EXPECTED_COUNT as SMALL_EXPECTED_LOOK
from services.abtest.domain.model import DecisionMethod, TestDesign
from services.abtest.domain.proportions import SMALL_EXPECTED_COUNT
from services.abtest.domain.sample_ratio import ALARM_BELOW, log_bayes_factors
from services.abtest.domain.sequential import anytime_boundaries

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
_SAFETY = 1.0 - 1e-6
"""By how much a score may fall short of a boundary before it is told apart: rounding differs."""


@dataclass(frozen=True, kw_only=True)
class SimulatedCounts:
    """Users and converting users by test, look and group, as they stand at each look."""

    users: Ints
    conversions: Ints


@dataclass(frozen=True, kw_only=True)
class SimulatedScores:
    """Each variant against control, by test, look and variant; as `contrasts.contrast_metric` has it.

    `relative_lift` is NaN where control has nothing. `z` is how many standard errors the variant lies above
    control, `ready` whether that may be trusted. `fixed_z` is at least the size of the score of the test that
    is right at a single look.
    """

    relative_lift: Floats
    z: Floats
    fixed_z: Floats
    effective_users: Floats
    information: Floats
    ready: Flags


def draw_counts(
    generator: np.random.Generator,
    *,
    weights: Sequence[float],
    rates: Sequence[float],
    look_users: Sequence[int],
    target_sample_size: int,
    tests: int,
) -> SimulatedCounts:
    """Return simulated tests: users multinomial by weights, conversions binomial by rates.

    Args:
        generator: where chance comes from.
        weights: of the groups, summing to 1.
        rates: each group's conversion rate.
        look_users: users of all groups at each look; at the last one, as many more enrol as it takes for
            every group to have its target.
        target_sample_size: users per group.
        tests: how many tests.
    """
    steps = np.diff(look_users, prepend=0)
    users = np.stack([generator.multinomial(step, weights, size=tests) for step in steps], axis=1)
    totals = users.sum(axis=1)
    while (missing := np.maximum(0, target_sample_size - totals)).any():
        extra = np.ceil(missing / np.asarray(weights)).max(axis=1).astype(np.int64)
        more = generator.multinomial(extra, weights)
        users[:, -1] += more
        totals += more
    conversions = generator.binomial(users, rates)
    return SimulatedCounts(users=users.cumsum(axis=1), conversions=conversions.cumsum(axis=1))


def score_counts(counts: SimulatedCounts) -> SimulatedScores:
    """Return every variant's conversion rate against control's at every look.

    Source: as `stratified_rates.estimate_log_ratio` and `score_information`, for a single weight epoch.
    """
    n0, n1 = counts.users[..., :1] + 1.0, counts.users[..., 1:] + 1.0
    x0, x1 = counts.conversions[..., :1] + 0.5, counts.conversions[..., 1:] + 0.5
    odds0, odds1 = (n0 - x0) / x0, (n1 - x1) / x1
    pooled_odds = (n0 + n1 - x0 - x1) / (x0 + x1)
    variance = np.maximum(odds0 / n0 + odds1 / n1, pooled_odds * (1.0 / n0 + 1.0 / n1))
    log_ratio = np.log((x1 / n1) / (x0 / n0))
    return SimulatedScores(
        relative_lift=np.expm1(log_ratio),
        z=log_ratio / np.sqrt(variance),
        fixed_z=_pearson_scores(counts),
        effective_users=(odds0 + odds1) / variance,
        information=_score_information(counts),
        ready=_smallest_expected(counts) >= SMALL_EXPECTED_LOOK,
    )


def _score_information(counts: SimulatedCounts) -> Floats:
    n0, n1 = counts.users[..., :1].astype(np.float64), counts.users[..., 1:].astype(np.float64)
    total = np.maximum(1.0, n0 + n1)
    converted = counts.conversions[..., :1] + counts.conversions[..., 1:]
    return np.asarray(n0 * n1 * converted * (total - converted) / total**3)


def _smallest_expected(counts: SimulatedCounts) -> Floats:
    """Return the least count expected under equal rates in control and each variant."""
    n0, n1 = counts.users[..., :1], counts.users[..., 1:]
    rate = (counts.conversions[..., :1] + counts.conversions[..., 1:]) / np.maximum(1, n0 + n1)
    return np.asarray(np.minimum(n0, n1) * np.minimum(rate, 1.0 - rate))


def find_due_looks(design: TestDesign, users: Ints) -> Flags:
    """Return, by test and look, where the design takes one of its planned looks (anytime: everywhere)."""
    if design.decision_method is DecisionMethod.ANYTIME:
        return np.ones(users.shape[:2], dtype=np.bool_)
    steps = design.planned_looks if design.decision_method is DecisionMethod.GROUP_SEQUENTIAL else 1
    reached = np.floor(progress_of(design, users) * steps + 1e-9)
    return np.asarray(np.diff(reached, axis=1, prepend=0.0) > 0.0)


def progress_of(design: TestDesign, users: Ints) -> Floats:
    """Return, by test and look, the users of the smallest group over the target, at most 1."""
    return np.asarray(np.minimum(1.0, users.min(axis=2) / design.target_sample_size))


def find_candidates(
    design: TestDesign, weights: Sequence[float], users: Ints, scores: SimulatedScores
) -> Flags:
    """Return, by test and look, where the verdict may be another than to go on, or no evidence at the target.

    Nowhere else can a winner be named or the test be invalid: a variant is proven at a look only if its score
    is beyond the boundary of that look for one variant alone, and that of a planned look is no nearer than if
    all that may be spent by then were spent there.
    """
    alarms = log_bayes_factors(users, weights) >= -math.log(ALARM_BELOW) * _SAFETY
    crossing = _find_crossing(design, users, scores) & find_due_looks(design, users)
    return np.asarray(alarms | crossing)


def _find_crossing(design: TestDesign, users: Ints, scores: SimulatedScores) -> Flags:
    level = design.significance_level
    if design.decision_method is DecisionMethod.ANYTIME:
        bounds = anytime_boundaries(
            np.maximum(scores.effective_users, np.finfo(np.float64).tiny),
            significance_level=level,
            target_sample_size=design.target_sample_size,
        )
        return np.asarray((scores.ready & (np.abs(scores.z) >= bounds * _SAFETY)).any(axis=2))
    progress = np.maximum(progress_of(design, users), np.finfo(np.float64).tiny)
    spent = 4.0 * special.ndtr(special.ndtri(level / 4.0) / np.sqrt(progress))
    bounds = -special.ndtri(np.maximum(spent, np.finfo(np.float64).tiny) / 2.0)[:, :, None]
    if design.decision_method is DecisionMethod.GROUP_SEQUENTIAL:
        return np.asarray((scores.ready & (np.abs(scores.z) >= bounds * _SAFETY)).any(axis=2))
    return np.asarray((scores.fixed_z >= bounds * _SAFETY).any(axis=2))


def _pearson_scores(counts: SimulatedCounts) -> Floats:
    """Return the roots of Pearson's statistics; infinite where a count is so small that Fisher is asked."""
    n0, n1 = counts.users[..., :1], counts.users[..., 1:]
    x0, x1 = counts.conversions[..., :1], counts.conversions[..., 1:]
    pooled = (x0 + x1) / np.maximum(1, n0 + n1)
    variance = pooled * (1.0 - pooled) * (1.0 / np.maximum(1, n0) + 1.0 / np.maximum(1, n1))
    difference = x1 / np.maximum(1, n1) - x0 / np.maximum(1, n0)
    scores = np.abs(difference) / np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny))
    small = _smallest_expected(counts) < SMALL_EXPECTED_COUNT * (2.0 - _SAFETY)
    return np.where(small, np.inf, scores)
