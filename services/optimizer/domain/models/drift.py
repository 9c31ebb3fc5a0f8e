"""Whether a live model still does what it did when it was trained.

Its errors on the days since then, which it never saw, are compared with those on the days that were held out
from its training. A day's rate scatters by rate * (1 - rate) / views (binomial) around any forecast, more
where fewer looked; that part is taken out first, so that smaller campaigns do not pass for a worse model.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final

import numpy as np
from scipy.special import stdtr, stdtrit

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.models.population import Move, Population, Stability
from services.optimizer.domain.response.calibration import CONFIDENCE_LEVEL, Estimate, Outcomes

MINIMUM_DAYS: Final = 3
MINIMUM_ROWS: Final = 100
MOST_DAYS: Final = 28
"""Live days looked at, the latest ones."""
LARGEST_GROWTH: Final = 0.25
"""Growth of the squared error, as a share of that at training, above which a model is degraded."""
SIGNIFICANCE: Final = 0.01


class DriftVerdict(StrEnum):
    """What the days since training say of the live model; the two last call for another training."""

    INSUFFICIENT = "insufficient"
    STABLE = "stable"
    DRIFTED = "drifted"
    DEGRADED = "degraded"

    @property
    def calls_for_training(self) -> bool:
        """Whether the model should be trained again now."""
        return self in {DriftVerdict.DRIFTED, DriftVerdict.DEGRADED}


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Squared errors of a forecast on some days, by views.

    `excess` is the mean squared error that binomial noise does not explain, `variance` and
    `degrees_of_freedom` its spread, with campaigns and days as the units (`domain/clusters.py`): a forecast
    that is wrong about a campaign is so day after day.
    """

    days: int
    mean_squared: float
    excess: float
    variance: float
    degrees_of_freedom: float


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a model is held to: how its rows were spread, its errors when trained, the types' mean rates."""

    population: Population
    errors: Errors
    type_rates: Mapping[int, float]
    overall_rate: float


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What the days since its training say of a live model.

    `error_growth` is the growth of the mean squared error beyond noise, as a share of the whole at training;
    None with too few days, as are the errors without a row. `baseline_error` is that of the mean rates of
    campaign types as they were at training.
    """

    version: int
    measured_at: datetime
    first_day: date
    end_day: date
    days: int
    rows: int
    verdict: DriftVerdict
    reasons: tuple[str, ...]
    stability: tuple[Stability, ...]
    training_error: float
    live_error: float | None
    baseline_error: float | None
    error_growth: Estimate | None
    growth_p_value: float | None


@dataclass(frozen=True, kw_only=True)
class ErrorComparison:
    """Growth of the error as `Drift.error_growth`, and the one-sided p-value of there being none."""

    growth: Estimate
    p_value: float


@dataclass(frozen=True, kw_only=True)
class BaselineComparison:
    """Mean squared errors of the model and of the mean rates of campaign types on the same rows.

    `p_value` is the one-sided one of the model being no worse; None where nothing tells chance.
    """

    live_error: float
    baseline_error: float
    p_value: float | None


def measure_errors(outcomes: Outcomes) -> Errors:
    """Return the errors of `outcomes.predicted`; at least one row."""
    shares = outcomes.views / outcomes.views.sum()
    squared = (outcomes.observed - outcomes.predicted) ** 2
    beyond = squared - outcomes.predicted * (1.0 - outcomes.predicted) / outcomes.views
    excess = float(np.sum(shares * beyond))
    spread = outcomes.spread(shares * (beyond - excess))
    return Errors(
        days=len(np.unique(outcomes.day)),
        mean_squared=float(np.sum(shares * squared)),
        excess=excess,
        variance=spread.variance,
        degrees_of_freedom=spread.degrees_of_freedom,
    )


def compare_errors(then: Errors, now: Errors) -> ErrorComparison | None:
    """Return by how much errors grew (Welch 1947); None with fewer than three days."""
    if min(then.days, now.days) < MINIMUM_DAYS:
        return None
    error, whole = math.sqrt(then.variance + now.variance), then.mean_squared
    if error <= 0.0 or whole <= 0.0:
        return None
    growth = now.excess - then.excess
    freedom = (then.variance + now.variance) ** 2 / sum(
        each.variance**2 / each.degrees_of_freedom for each in (then, now)
    )
    reach = float(stdtrit(freedom, (1.0 + CONFIDENCE_LEVEL) / 2.0)) * error
    return ErrorComparison(
        growth=Estimate(point=growth / whole, lower=(growth - reach) / whole, upper=(growth + reach) / whole),
        p_value=float(stdtr(freedom, -growth / error)),
    )


def compare_with_baseline(outcomes: Outcomes, baseline: FloatArray) -> BaselineComparison:
    """Return how `outcomes.predicted` does beside `baseline` (rows,), by the differences of their errors.

    As a promotion is decided (`promotion.measure_gain`; Diebold and Mariano 1995), campaigns and days being
    the units: on few days chance alone puts a weak model behind the mean rates.
    """
    shares = outcomes.views / outcomes.views.sum()
    ours, theirs = ((outcomes.observed - each) ** 2 for each in (outcomes.predicted, baseline))
    behind = float(np.sum(shares * (ours - theirs)))
    spread = outcomes.spread(shares * (ours - theirs - behind))
    is_told = 0.0 < spread.error < math.inf
    return BaselineComparison(
        live_error=float(np.sum(shares * ours)),
        baseline_error=float(np.sum(shares * theirs)),
        p_value=float(stdtr(spread.degrees_of_freedom, -behind / spread.error)) if is_told else None,
    )


def judge_drift(
    *,
    days: int,
    rows: int,
    stability: tuple[Stability, ...],
    comparison: ErrorComparison | None,
    against_baseline: BaselineComparison | None,
) -> tuple[DriftVerdict, tuple[str, ...]]:
    """Return the verdict and its reasons."""
    if days < MINIMUM_DAYS or rows < MINIMUM_ROWS:
        there = f"only {days} of {MINIMUM_DAYS} days and {rows} of {MINIMUM_ROWS} rows"
        return DriftVerdict.INSUFFICIENT, (f"{there} have come since the model's last day",)
    errors = []
    if (
        comparison is not None
        and comparison.growth.point > LARGEST_GROWTH
        and comparison.p_value < SIGNIFICANCE
    ):
        errors.append(
            f"its squared error has grown by {comparison.growth.point:.0%} beyond noise"
            f" (p = {comparison.p_value:.2g})"
        )
    if (
        against_baseline is not None
        and against_baseline.p_value is not None
        and against_baseline.p_value < SIGNIFICANCE
    ):
        errors.append(
            "it forecasts worse than the mean rates of campaign types do (mean squared error"
            f" {against_baseline.live_error:.3g} against {against_baseline.baseline_error:.3g},"
            f" p = {against_baseline.p_value:.2g})"
        )
    moves = [
        f"{each.name} has moved (population stability index {each.index:.2f}, large above {each.bound:.2f})"
        for each in stability
        if each.decides and each.move is Move.LARGE
    ]
    if errors:
        return DriftVerdict.DEGRADED, (*errors, *moves)
    if moves:
        return DriftVerdict.DRIFTED, tuple(moves)
    return DriftVerdict.STABLE, ("errors and features are as they were at training, within chance",)
