"""What expected view rates are by deliveries that they were not told of.

Activity shows in views by a smooth shape, the same for all, and its posterior means are drawn towards the
middle. So the rates at users' best hours are a little too low. Half of the deliveries, drawn by chance, are
kept from users' posteriors, and what was viewed of them is compared with the rates expected, by bins of these
(Zadrozny & Elkan, ICML 2001): how far they are off on average, on the logit, and how far users are beyond
what their posteriors say.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.special import expit, logit

from services.optimizer.domain.features import BoolArray
from services.optimizer.domain.send_time.counts import CycleCounts, FloatArray, History, Sendings
from services.optimizer.domain.send_time.profile import SendTimeProfile, ViewShift
from services.optimizer.domain.send_time.send_time import view_rates

BINS: Final = 10
LEAST_OF_BIN: Final = 100.0
"""Deliveries of a bin, below which there are fewer bins, or none."""
_HALF: Final = 0.5


def calibrate_views(
    profile: SendTimeProfile, history: History, sendings: Sendings, segment_set_ids: Sequence[int | None]
) -> ViewShift | None:
    """Return how the view rates expected at hours are to be moved; None where it cannot be told."""
    kept = np.random.default_rng(20_260_103).random(len(sendings.user)) < _HALF
    hours = history.hours
    expected = view_rates(profile, replace(history, hours=_only(hours, sendings, kept)), segment_set_ids)
    left_out = _only(hours, sendings, ~kept)
    deliveries, views = left_out.deliveries.sum(axis=1), left_out.views.sum(axis=1)
    bins = min(BINS, int(deliveries.sum() / LEAST_OF_BIN))
    if expected is None or not bins:
        return None
    rates, deviations = expected
    sent = deliveries > 0.0
    return _compare(
        _LeftOut(
            expected=rates[sent],
            deviations=deviations[sent],
            deliveries=deliveries[sent],
            views=views[sent],
        ),
        bins,
    )


def _only(counts: CycleCounts, sendings: Sendings, rows: BoolArray) -> CycleCounts:
    """The hours' counts with only those deliveries."""
    place = sendings.user[rows], sendings.campaign_type[rows], sendings.hour[rows]
    deliveries, views = np.zeros_like(counts.deliveries), np.zeros_like(counts.views)
    np.add.at(deliveries, place, sendings.deliveries[rows])
    np.add.at(views, place, sendings.views[rows])
    return replace(counts, deliveries=deliveries, views=views)


@dataclass(frozen=True, kw_only=True)
class _LeftOut:
    """Deliveries left out, by user and hour; the view rate expected, with its logit's deviation."""

    expected: FloatArray
    deviations: FloatArray
    deliveries: FloatArray
    views: FloatArray


def _compare(cells: _LeftOut, bins: int) -> ViewShift:
    """Compare in bins of about as many deliveries; each has half a view more, and half a delivery without.

    Two deliveries of a user at an hour are viewed alike as far as users' rates differ from the expected ones:
    E (y - n p)^2 = n p (1 - p) + n (n - 1) var p. What that variance has beyond the expected rates' own is
    the shape's misfit.
    """
    sent = cells.deliveries
    order = np.argsort(cells.expected, kind="stable")
    reached = np.cumsum(sent[order])
    of_bin = np.empty(len(order), dtype=np.intp)
    of_bin[order] = np.minimum((reached * bins / reached[-1]).astype(np.intp), bins - 1)
    total = np.maximum(np.bincount(of_bin, sent, bins), _HALF)
    seen = np.bincount(of_bin, cells.views, bins) + _HALF
    unseen = total + 2.0 * _HALF - seen
    rate = logit(np.bincount(of_bin, sent * cells.expected, bins) / total)
    shifts = np.log(seen / unseen) - rate
    moved = expit(logit(cells.expected) + shifts[of_bin])
    noise = moved * (1.0 - moved)
    alike = (cells.views - sent * moved) ** 2 - sent * noise
    pairs = sent * (sent - 1.0)
    known = np.bincount(of_bin, pairs * (noise * cells.deviations) ** 2, bins)
    scale = np.maximum(np.bincount(of_bin, pairs * noise**2, bins), 1e-9)
    misfit = np.maximum(np.bincount(of_bin, alike, bins) - known, 0.0) / scale
    used = np.bincount(of_bin, sent, bins) > 0.0
    return ViewShift(
        rates=rate[used],
        shifts=np.asarray(shifts[used]),
        variances=np.asarray((1.0 / seen + 1.0 / unseen + misfit)[used]),
    )
