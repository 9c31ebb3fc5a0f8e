"""Whether a trained version deserves to serve."""

from dataclasses import dataclass, replace
from datetime import date
from typing import Final

import numpy as np
from scipy.special import stdtrit

from services.optimizer.domain.clusters import Spread, spread_of_sum
from services.optimizer.domain.features import FloatArray, IntArray
from services.optimizer.domain.models.registry import ModelSummary
from services.optimizer.domain.models.version import LARGEST_PARITY_ERROR, ModelStatus

BASELINE_SIGNIFICANCE: Final = 0.05
"""How often noise may pass for better than the baseline: one-sided, over days and campaigns."""
LIVE_SIGNIFICANCE: Final = 0.2
"""How often a version that is merely as good may replace the live one.

Exchanging equals costs little, and keeping a stale version costs accuracy: so this is less strict.
"""
MINIMUM_COMPARABLE_DAYS: Final = 3


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Held-out rows: observed rates, their campaign (position), their day (ordinal) and their views."""

    observed: FloatArray
    campaign: IntArray
    day: IntArray
    views: IntArray

    def select(self, rows: IntArray) -> "HeldOut":
        """Return some of the rows, by position."""
        return HeldOut(
            observed=self.observed[rows],
            campaign=self.campaign[rows],
            day=self.day[rows],
            views=self.views[rows],
        )


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


@dataclass(frozen=True, kw_only=True)
class ServedData:
    """The version that is live, and the day before which its data end."""

    version: int
    end_day: date


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
    gain, spread = measure_gain(held_out, predicted, baseline)
    if not _exceeds_chance(gain, spread, BASELINE_SIGNIFICANCE):
        return _refuse(
            "it does not beat the mean conversion rate of each campaign type on the held-out days by more"
            f" than chance (mean squared error {_describe_gain(gain, spread)})"
        )
    if live is None:
        return Verdict(promoted=True, reason="beats the baseline; no version was live to compare with")
    return _compare_with_live(held_out, predicted, live)


def settle(verdict: Verdict, *, end_day: date, live: ServedData | None, same: ModelSummary | None) -> Verdict:
    """Return the verdict on data before `end_day`, given what is live, and the newest that is the same.

    A comparison with the live version would be one of equals where that is the same, and where somebody went
    back from the same, going live would undo that. One that only was replaced may return, if it wins. Data
    that end sooner than those of the live version replace nothing: whoever wants older data rolls back.
    """
    if same is not None and (same.status is ModelStatus.LIVE or same.is_rolled_back):
        remedy = "" if same.status is ModelStatus.LIVE else "; RollbackModel puts that one live again"
        return _refuse(f"it is the same as version {same.version}, which is {same.status.value}{remedy}")
    if live is not None and end_day < live.end_day:
        return _refuse(
            f"its data end before {end_day}, and those of live version {live.version} before {live.end_day}:"
            " older data replace no newer; RollbackModel goes back to an earlier version, else train with a"
            " later as_of"
        )
    if same is not None and verdict.promoted:
        return replace(verdict, reason=f"{verdict.reason}; it is the same as version {same.version}")
    return verdict


def _compare_with_live(held_out: HeldOut, predicted: FloatArray, live: LiveComparison) -> Verdict:
    days = len(np.unique(held_out.day[live.rows]))
    if days < MINIMUM_COMPARABLE_DAYS:
        return _refuse(
            f"only {days} of the held-out days are new to live version {live.version};"
            f" {MINIMUM_COMPARABLE_DAYS} are needed for a fair comparison: train with a later as_of"
        )
    rows = held_out.select(live.rows)
    gain, spread = measure_gain(rows, predicted[live.rows], live.predicted)
    if not _exceeds_chance(gain, spread, LIVE_SIGNIFICANCE):
        return _refuse(
            f"it does not beat live version {live.version} on the same {len(live.rows)} held-out rows by more"
            f" than chance (mean squared error {_describe_gain(gain, spread)})"
        )
    return Verdict(
        promoted=True,
        reason=f"beats the baseline and version {live.version} on the same {len(live.rows)} held-out rows",
    )


def measure_gain(held_out: HeldOut, predicted: FloatArray, baseline: FloatArray) -> tuple[float, Spread]:
    """Return by how much `predicted` has the smaller mean squared error, and that figure's spread.

    A comparison of two forecasts by their errors' differences (Diebold and Mariano 1995). The rows of one day
    share the day's chances, and a forecast that is wrong about a campaign is so day after day: days and
    campaigns are the units (`domain/clusters.py`).
    """
    weights = held_out.views / held_out.views.sum()
    difference = (held_out.observed - baseline) ** 2 - (held_out.observed - predicted) ** 2
    gain = float(np.sum(weights * difference))
    return gain, spread_of_sum(weights * (difference - gain), held_out.campaign, held_out.day, weights)


def _exceeds_chance(gain: float, spread: Spread, significance: float) -> bool:
    return gain > float(stdtrit(spread.degrees_of_freedom, 1.0 - significance)) * spread.error


def _describe_gain(gain: float, spread: Spread) -> str:
    return f"{'less' if gain > 0 else 'more'} by {abs(gain):.3g}, standard error {spread.error:.2g}"


def _refuse(reason: str) -> Verdict:
    return Verdict(promoted=False, reason=reason)
