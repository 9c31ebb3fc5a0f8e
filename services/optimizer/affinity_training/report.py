"""Measures a fit on a week that it has not seen, beside frequency and popularity."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.optimizer.affinity_training.fit import Week
from services.optimizer.domain.affinity.contacts import BoolArray, FloatArray, IntArray, total_by
from services.optimizer.domain.affinity.features import visitor_shares
from services.optimizer.domain.affinity.model import HORIZON_DAYS, Band, LogisticTerms, score_pairs
from services.optimizer.domain.affinity.similarity import look_up

TOP: Final = 3
_BAND_VISITS: Final = 50
_MOST_BANDS: Final = 12
_BAND_USERS: Final = 20
"""Fewer users, and a band's interval would be of them."""
_PRIOR_DAYS: Final = 7.0
_PRIOR_VISITS: Final = 0.1
_Z95: Final = 1.959963984540054
_Z90_ONE_SIDED: Final = 1.2815515655446004
_SMALLEST: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class Report:
    """How a fit did in the held-out week.

    Losses are mean logarithmic losses over pairs: `frequency_log_loss` that of visits per day alone,
    `population_log_loss` that of the merchants' weekly shares, the same for everybody.
    `calibration_error` is the mean distance of score and visited share over bands, weighted by pairs. Recall
    is the mean share of what a user visited (three at most count) among the first three, over users who did.
    With `is_response_measured`, views of campaigns told how affinity moves conversions.
    """

    users: int
    visits: int
    log_loss: float
    frequency_log_loss: float
    population_log_loss: float
    calibration_error: float
    recall: float | None
    frequency_recall: float | None
    popularity_recall: float | None
    bands: tuple[Band, ...]
    is_better: bool
    is_response_measured: bool = False

    @property
    def reason(self) -> str:
        """Say why the fit deserves to be used, or not, and whether it measured how affinity moves rates."""
        if self.is_response_measured:
            return self._comparison
        return f"{self._comparison}; how affinity moves conversions is not measured: the prior counts"

    @property
    def _comparison(self) -> str:
        compared = (
            f"log loss {self.log_loss:.5f} in the held-out week,"
            f" visits per day alone {self.frequency_log_loss:.5f},"
            f" everybody alike {self.population_log_loss:.5f}"
        )
        if self.is_better:
            return compared
        return f"does not beat these baselines by more than chance: {compared}"


def assess(week: Week, returning: LogisticTerms, first: LogisticTerms, weekly_share: FloatArray) -> Report:
    """Return how a fit does in a week that came after those it was fitted on.

    It is better where its loss is lower than that of either baseline by more than chance: one-sided 90 %,
    users as units. `weekly_share` (merchants) is that of the weeks before.
    """
    merchant_count = week.evidence.merchant_count
    user = week.pairs.key // merchant_count
    scores = score_pairs(week.pairs, returning, first)
    by_frequency = frequency_scores(week)
    popularity = visitor_shares(week.evidence)[week.pairs.key % merchant_count]
    losses, frequency_losses = _losses(scores, week.visited), _losses(by_frequency, week.visited)
    population_losses = _losses(weekly_share[week.pairs.key % merchant_count], week.visited)
    bands = make_bands(scores, week.visited, user)
    return Report(
        users=len(np.unique(user)),
        visits=int(week.visited.sum()),
        log_loss=float(losses.mean()),
        frequency_log_loss=float(frequency_losses.mean()),
        population_log_loss=float(population_losses.mean()),
        calibration_error=_calibration_error(bands),
        recall=recall(week, scores),
        frequency_recall=recall(week, by_frequency),
        popularity_recall=recall(week, popularity),
        bands=bands,
        is_better=all(_is_lower(losses, than, user) for than in (frequency_losses, population_losses)),
    )


def frequency_scores(week: Week) -> FloatArray:
    """Return the probability of a visit by the pair's visits per day alone, unfaded, and a little popularity.

    Visits are taken for a Poisson process: 1 - exp(-rate x days).
    """
    total = look_up(week.evidence.key, week.evidence.total, week.pairs.key, missing=0.0)
    merchant_count = week.evidence.merchant_count
    share = visitor_shares(week.evidence)[week.pairs.key % merchant_count]
    days = week.evidence.tenure[week.pairs.key // merchant_count] + _PRIOR_DAYS
    return np.asarray(-np.expm1(-HORIZON_DAYS * (total + _PRIOR_VISITS * share) / days), dtype=np.float64)


def recall(week: Week, scores: FloatArray) -> float | None:
    """Return the mean recall among the first three; None where nobody visited."""
    user = week.pairs.key // week.evidence.merchant_count
    order = np.lexsort((week.pairs.key, -scores, user))
    rank = np.arange(len(order)) - np.searchsorted(user[order], user[order])
    hits = total_by(
        user[order], (week.visited[order] & (rank < TOP)).astype(np.float64), week.evidence.user_count
    )
    visits = total_by(user, week.visited.astype(np.float64), week.evidence.user_count)
    came = visits > 0
    return float(np.mean(hits[came] / np.minimum(visits[came], TOP))) if came.any() else None


def make_bands(scores: FloatArray, visited: BoolArray, user: IntArray) -> tuple[Band, ...]:
    """Return bands of scores with equally many expected visits, each with the share that was visited.

    The interval is a ratio's over users (linearisation: Cochran 1977, eq. 6.13), because pairs of one user
    are not independent; on the logit, so that it stays within 0 to 1.
    """
    order = np.argsort(scores, kind="stable")
    expected = np.cumsum(scores[order])
    count = int(np.clip(visited.sum() // _BAND_VISITS, 1, _MOST_BANDS))
    place = np.minimum((count * expected / expected[-1]).astype(np.int64), count - 1)
    bands = []
    for number in range(count):
        rows = order[place == number]
        if len(rows):
            bands.append(_band(scores[rows], visited[rows], user[rows]))
    return tuple(band for band in bands if band is not None)


def _band(scores: FloatArray, visited: BoolArray, user: IntArray) -> Band | None:
    owners, owner = np.unique(user, return_inverse=True)
    visits, share = int(visited.sum()), float(visited.mean())
    if len(owners) < _BAND_USERS or not 0 < visits < len(visited):
        return None
    residuals = total_by(owner, visited.astype(np.float64) - share, len(owners))
    error = np.sqrt(len(owners) / (len(owners) - 1) * np.sum(residuals**2)) / len(visited)
    spread = _Z95 * error / (share * (1.0 - share))
    logit = np.log(share / (1.0 - share))
    return Band(
        lower_score=float(scores.min()),
        mean_score=float(scores.mean()),
        visited_share=share,
        lower=float(1.0 / (1.0 + np.exp(-(logit - spread)))),
        upper=float(1.0 / (1.0 + np.exp(-(logit + spread)))),
        pairs=len(scores),
        users=len(owners),
    )


def _is_lower(losses: FloatArray, than: FloatArray, user: IntArray) -> bool:
    """Whether losses are lower, paired by user, by more than chance."""
    owners, owner = np.unique(user, return_inverse=True)
    if len(owners) < _BAND_USERS:
        return False
    gained = total_by(owner, than - losses, len(owners))
    return bool(gained.mean() > _Z90_ONE_SIDED * gained.std(ddof=1) / np.sqrt(len(owners)))


def _calibration_error(bands: tuple[Band, ...]) -> float:
    pairs = sum(band.pairs for band in bands)
    return sum(abs(band.mean_score - band.visited_share) * band.pairs for band in bands) / max(pairs, 1)


def _losses(scores: FloatArray, visited: BoolArray) -> FloatArray:
    bounded = np.clip(scores, _SMALLEST, 1.0 - _SMALLEST)
    return np.asarray(-np.where(visited, np.log(bounded), np.log1p(-bounded)), dtype=np.float64)
