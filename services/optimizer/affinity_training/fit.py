"""Fits the two logistic models on past weeks, each told only what was known on its eve.

The features of a week come from contacts before it, similarities and popularity included: a merchant is not
similar to another because of the very visit that is to be foretold.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.special import expit
from scipy.special import logit as logit_of
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from services.optimizer.affinity_training.similarity_fit import fit_similarities
from services.optimizer.domain.affinity.contacts import (
    BoolArray,
    Contact,
    Contacts,
    Evidence,
    FloatArray,
    IntArray,
    gather,
    visited_within,
)
from services.optimizer.domain.affinity.features import (
    FIRST_FEATURES,
    RETURNING_FEATURES,
    Merchants,
    Pairs,
    candidate_keys,
    pair_features,
    visitor_shares,
)
from services.optimizer.domain.affinity.model import HORIZON_DAYS, LogisticTerms
from services.optimizer.domain.affinity.similarity import SimilarTaste, similar_taste

FIT_WEEKS: Final = 4
"""Whole weeks that a fit learns from at most; one more is held out."""
_ROWS: Final = 400_000
"""Most rows that one model is fitted on; beyond, rows without a visit are sampled and weighted up."""
_SCALE_FLOOR: Final = 1e-9
_HALF: Final = 0.5
_BAND_VISITS: Final = 100
_LEAST_VISITS: Final = 20
_LEAST_BANDS: Final = 2
_MOST_BANDS: Final = 8
_LEAST_SLOPE: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Week:
    """What was known on the eve of a week, and what came (`visited`, one entry per pair)."""

    first_day: int
    evidence: Evidence
    taste: SimilarTaste
    visitor_share: FloatArray
    pairs: Pairs
    visited: BoolArray


def look_at_week(contacts: Contacts, merchants: Merchants, first_day: int, user_count: int) -> Week:
    """Return the pairs worth a look on the eve of a week; users without any contact by then are left out."""
    evidence = gather(contacts, first_day, user_count=user_count, merchant_count=len(merchants))
    taste = similar_taste(evidence, fit_similarities(evidence).matrix())
    share = visitor_shares(evidence)
    keys = candidate_keys(evidence, taste, share)
    keys = keys[evidence.tenure[keys // len(merchants)] > 0]
    pairs = pair_features(evidence, taste, merchants, share, keys)
    came = visited_within(contacts, first_day, HORIZON_DAYS, len(merchants))
    return Week(
        first_day=first_day,
        evidence=evidence,
        taste=taste,
        visitor_share=share,
        pairs=pairs,
        visited=np.isin(keys, came),
    )


def fit_terms(weeks: Sequence[Week], *, returning: bool, rng: np.random.Generator) -> LogisticTerms:
    """Return the model of the pairs that met by a visit before, or of the others, fitted on all weeks."""
    names = RETURNING_FEATURES if returning else FIRST_FEATURES
    rows = [week.pairs.is_returning == returning for week in weeks]
    values = np.concatenate(
        [week.pairs.matrix(names, chosen) for week, chosen in zip(weeks, rows, strict=True)]
    )
    visited = np.concatenate([week.visited[chosen] for week, chosen in zip(weeks, rows, strict=True)])
    chosen, weights = _sample(visited, rng)
    values, visited = values[chosen], visited[chosen]
    means = _finite_mean(values, weights)
    scales = np.sqrt(_finite_mean((values - means) ** 2, weights))
    scales = np.where(scales > _SCALE_FLOOR, scales, 1.0)
    coefficients, intercept = _fit(np.nan_to_num((values - means) / scales), visited, weights)
    return LogisticTerms(
        names=names,
        means=tuple(means.tolist()),
        scales=tuple(scales.tolist()),
        coefficients=tuple(coefficients.tolist()),
        intercept=intercept,
    )


def calibrate(terms: LogisticTerms, weeks: Sequence[Week], *, returning: bool) -> LogisticTerms:
    """Return the model calibrated on the weeks; itself where too few visits came.

    Pairs are put into bands of equally many expected visits; what came in them, made to rise by isotonic
    regression (Zadrozny and Elkan, KDD 2002), is joined by straight lines on the logit, which go up by at
    least `_LEAST_SLOPE`: the order of pairs stays as it was.
    """
    rows = [week.pairs.is_returning == returning for week in weeks]
    values = [week.pairs.matrix(terms.names, chosen) for week, chosen in zip(weeks, rows, strict=True)]
    logit = terms.logit(np.concatenate(values))
    visited = np.concatenate([week.visited[chosen] for week, chosen in zip(weeks, rows, strict=True)])
    band_count = min(int(visited.sum()) // _BAND_VISITS, _MOST_BANDS)
    if band_count < _LEAST_BANDS:
        return terms
    order = np.argsort(logit, kind="stable")
    logit, visited = logit[order], visited[order]
    expected = np.cumsum(expit(logit))
    band = np.minimum((band_count * expected / expected[-1]).astype(np.int64), band_count - 1)
    sizes = np.bincount(band, minlength=band_count)
    knots = logit_of(np.bincount(band, weights=expit(logit)) / sizes)
    shares = (np.bincount(band, weights=visited) + _HALF) / (sizes + 1)
    risen = IsotonicRegression().fit_transform(knots, logit_of(shares), sample_weight=sizes)
    calibrated = [float(risen[0])]
    for step, goal in zip(np.diff(knots), risen[1:], strict=True):
        calibrated.append(max(float(goal), calibrated[-1] + _LEAST_SLOPE * float(step)))
    return replace(terms, knots=tuple(knots.tolist()), calibrated=tuple(calibrated))


def weekly_shares(weeks: Sequence[Week], user_count: int) -> FloatArray:
    """Return the share of all known users who visit each merchant in an average week."""
    merchant_count = weeks[0].evidence.merchant_count
    visits = np.zeros(merchant_count)
    for week in weeks:
        visits += np.bincount(week.pairs.key[week.visited] % merchant_count, minlength=merchant_count)
    return np.asarray(visits / (len(weeks) * user_count), dtype=np.float64)


def is_purchase_known(contacts: Contacts) -> bool:
    """Return whether any visit is known, or redemptions are all there is."""
    return bool(np.any(contacts.kind == Contact.VISIT))


def _sample(visited: BoolArray, rng: np.random.Generator) -> tuple[IntArray, FloatArray]:
    """All visits and as many of the others as fit, weighted up to stand for all of them."""
    others = np.flatnonzero(~visited)
    room = max(_ROWS - int(visited.sum()), 1)
    kept = others if len(others) <= room else np.sort(rng.choice(others, room, replace=False))
    chosen = np.concatenate([np.flatnonzero(visited), kept])
    weights = np.ones(len(chosen))
    weights[int(visited.sum()) :] = len(others) / max(len(kept), 1)
    return chosen, weights


def _fit(standard: FloatArray, visited: BoolArray, weights: FloatArray) -> tuple[FloatArray, float]:
    """Coefficients and intercept; the share of visits alone where there are too few to learn from."""
    visits = int(visited.sum())
    if min(visits, len(visited) - visits) < _LEAST_VISITS:
        share = (visits + _HALF) / (weights.sum() + 1.0)
        return np.zeros(standard.shape[1]), float(logit_of(min(share, 1.0 - share / 2)))
    fitted = LogisticRegression(max_iter=1_000).fit(standard, visited, sample_weight=weights)
    return fitted.coef_[0], float(fitted.intercept_[0])


def _finite_mean(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Weighted mean of each column over what is known in it; 0 where nothing is."""
    known = ~np.isnan(values)
    sums = (np.nan_to_num(values) * weights[:, np.newaxis]).sum(axis=0)
    return np.asarray(sums / np.maximum(known.T @ weights, _SCALE_FLOOR), dtype=np.float64)
