"""What expected view rates are by deliveries that they were not told of.

Activity shows in views by a smooth shape, the same for all, and its posterior means are drawn towards the
middle. So the rates at users' best hours are a little too low. Half of the deliveries, drawn by chance, are
kept from users' posteriors, and what was viewed of them is compared with the rates expected, by bins of these
(Platt scaling, in bins: Zadrozny & Elkan, ICML 2001). The shifts are on the logit.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from scipy.special import logit

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
    told = replace(history, hours=_only(history.hours, sendings, kept))
    expected = view_rates(profile, told, segment_set_ids)
    bins = min(BINS, int(sendings.deliveries[~kept].sum() / LEAST_OF_BIN))
    if expected is None or not bins:
        return None
    of_rows = expected[sendings.user, sendings.hour][~kept]
    return _compare(of_rows, sendings.deliveries[~kept], sendings.views[~kept], bins)


def _only(counts: CycleCounts, sendings: Sendings, rows: BoolArray) -> CycleCounts:
    """The hours' counts with only those deliveries."""
    place = sendings.user[rows], sendings.campaign_type[rows], sendings.hour[rows]
    deliveries, views = np.zeros_like(counts.deliveries), np.zeros_like(counts.views)
    np.add.at(deliveries, place, sendings.deliveries[rows])
    np.add.at(views, place, sendings.views[rows])
    return replace(counts, deliveries=deliveries, views=views)


def _compare(expected: FloatArray, deliveries: FloatArray, views: FloatArray, bins: int) -> ViewShift:
    """Compare in bins of about as many deliveries; half a view is added to both ends of a bin."""
    order = np.argsort(expected, kind="stable")
    reached = np.cumsum(deliveries[order])
    of_bin = np.empty(len(order), dtype=np.intp)
    of_bin[order] = np.minimum((reached * bins / reached[-1]).astype(np.intp), bins - 1)
    sent = np.bincount(of_bin, deliveries, bins)
    used = sent > 0.0
    sent = sent[used]
    seen = np.bincount(of_bin, views, bins)[used] + _HALF
    rate = logit(np.bincount(of_bin, deliveries * expected, bins)[used] / sent)
    return ViewShift(
        rates=rate,
        shifts=np.asarray(np.log(seen / (sent + 2.0 * _HALF - seen)) - rate),
        variances=np.asarray(1.0 / seen + 1.0 / (sent + 2.0 * _HALF - seen)),
    )
