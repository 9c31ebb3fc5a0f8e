"""Whether a trained version deserves to serve."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtrit

from services.optimizer.domain.features import FloatArray, IntArray
from services.optimizer.domain.model_version import LARGEST_PARITY_ERROR

SIGNIFICANCE: Final = 0.05
"""How often a version that is no better may pass for better (one-sided, Student's t over held-out days)."""
MINIMUM_COMPARABLE_DAYS: Final = 3


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Held-out rows: observed rates, their day (ordinal) and their views."""

    observed: FloatArray
    day: IntArray
    views: IntArray

    def select(self, rows: IntArray) -> "HeldOut":
        """Return some of the rows, by position."""
        return HeldOut(observed=self.observed[rows], day=self.day[rows], views=self.views[rows])


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a version is promoted, and why (not)."""

    promoted: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class LiveComparison:
    """The version that is live, on the rows that neither version was fitted on.

    `rows` are positions in the held-out rows; `predicted` has one rate per position.
    """

    version: int
    rows: IntArray
    predicted: FloatArray


def decide_promotion(
    held_out: HeldOut,
    *,
    predicted: FloatArray,
    baseline: FloatArray,
    parity_error: float,
    live: LiveComparison | None,
) -> Verdict:
    """Return the verdict on a version that predicts `predicted` on the held-out rows.

    It must agree with its export, and have a smaller exposure-weighted squared error than the per-type mean
    (`baseline`), and than the live version on the rows that neither has seen; smaller by more than chance, or
    a version that is merely as good would replace the live one every other day.
    """
    if not parity_error <= LARGEST_PARITY_ERROR:
        return _refuse(
            f"the exported model differs from the trained one by {parity_error:.2g} (relative); at most"
            f" {LARGEST_PARITY_ERROR:.0e} is allowed"
        )
    gain, error = daily_gain(held_out, predicted, baseline)
    if not _exceeds_chance(held_out, gain, error):
        return _refuse(
            "it does not beat the mean conversion rate of each campaign type on the held-out days by more"
            f" than chance (squared error less by {gain:.3g} ± {error:.2g} a day)"
        )
    if live is None:
        return Verdict(promoted=True, reason="beats the baseline; no version was live to compare with")
    return _compare_with_live(held_out, predicted, live)


def _compare_with_live(held_out: HeldOut, predicted: FloatArray, live: LiveComparison) -> Verdict:
    days = len(np.unique(held_out.day[live.rows]))
    if days < MINIMUM_COMPARABLE_DAYS:
        return _refuse(
            f"only {days} of the held-out days are new to live version {live.version};"
            f" {MINIMUM_COMPARABLE_DAYS} are needed for a fair comparison: train with a later as_of"
        )
    rows = held_out.select(live.rows)
    gain, error = daily_gain(rows, predicted[live.rows], live.predicted)
    if not _exceeds_chance(rows, gain, error):
        return _refuse(
            f"it does not beat live version {live.version} on the same {len(live.rows)} held-out rows by more"
            f" than chance (mean squared error less by {gain:.3g} ± {error:.2g})"
        )
    return Verdict(
        promoted=True,
        reason=f"beats the baseline and version {live.version} on the same {len(live.rows)} held-out rows",
    )


def _exceeds_chance(held_out: HeldOut, gain: float, error: float) -> bool:
    days = len(np.unique(held_out.day))
    return gain > float(stdtrit(max(days - 1, 1), 1.0 - SIGNIFICANCE)) * error


def daily_gain(held_out: HeldOut, predicted: FloatArray, baseline: FloatArray) -> tuple[float, float]:
    """Return by how much `predicted` has the smaller mean squared error, and that figure's standard error.

    The rows of one day share the day's chances, so the day is the unit: the weighted differences are summed
    by day, and their spread over days gives the error (Diebold and Mariano 1995, with independent days). The
    error is infinite for a single day.
    """
    weights = held_out.views / held_out.views.sum()
    difference = (held_out.observed - baseline) ** 2 - (held_out.observed - predicted) ** 2
    days, inverse = np.unique(held_out.day, return_inverse=True)
    by_day = np.bincount(inverse, weights=weights * difference)
    if len(days) < 2:  # noqa: PLR2004 (a spread needs two)
        return float(by_day.sum()), math.inf
    spread = float(np.sum((by_day - by_day.mean()) ** 2)) * len(days) / (len(days) - 1)
    return float(by_day.sum()), math.sqrt(spread)


def _refuse(reason: str) -> Verdict:
    return Verdict(promoted=False, reason=reason)
