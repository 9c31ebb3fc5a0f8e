"""The probability that a user visits a merchant in the next days: two logistic models, each calibrated.

One model is for merchants that the user visited before (recency and frequency first), one for the others
(collaborative filtering, distance, category). What is fitted is the very thing that the score claims to be:
whether the user visited within `HORIZON_DAYS`. A later week calibrates it, and a week later still, held out,
says how far scores are to be believed (`Band`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from scipy.sparse import csc_array, csr_array
from scipy.special import expit, logit, ndtri

from services.optimizer.domain.affinity.contacts import BoolArray, Evidence, FloatArray, IntArray
from services.optimizer.domain.affinity.features import (
    Merchants,
    Pairs,
    candidate_keys,
    pair_features,
)
from services.optimizer.domain.affinity.response import UNKNOWN_RESPONSE, AffinityResponse
from services.optimizer.domain.affinity.similarity import Similarities, similar_taste

_Z95: Final = float(ndtri(0.975))
HORIZON_DAYS: Final = 7
"""A score is about the next seven days: every day of the week once."""


@dataclass(frozen=True, kw_only=True)
class LogisticTerms:
    """A logistic model over standardised features; an unknown value counts as the mean.

    `knots` and `calibrated` are logits before and after calibration, both strictly rising: straight lines lie
    between, and shifts beyond. Without knots the model's own logit stands.
    """

    names: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float
    knots: tuple[float, ...] = ()
    calibrated: tuple[float, ...] = ()

    def contributions(self, values: FloatArray) -> FloatArray:
        """Return what each feature adds to the logit (rows, features)."""
        standard = (values - np.array(self.means)) / np.array(self.scales)
        return np.asarray(np.nan_to_num(standard) * np.array(self.coefficients), dtype=np.float64)

    def logit(self, values: FloatArray) -> FloatArray:
        """Return the logit before calibration (rows)."""
        return np.asarray(self.contributions(values).sum(axis=1) + self.intercept, dtype=np.float64)

    def calibrate(self, logit: FloatArray) -> FloatArray:
        """Return the logit after calibration."""
        if not self.knots:
            return logit
        inside = np.clip(logit, self.knots[0], self.knots[-1])
        calibrated = np.interp(inside, self.knots, self.calibrated)
        return np.asarray(calibrated + (logit - inside), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Band:
    """Held-out pairs with scores from `lower_score` to the next band's: how many of them were visited.

    `lower` and `upper` hold the rate with 95 % confidence; users are the unit, not pairs.
    """

    lower_score: float
    mean_score: float
    visited_share: float
    lower: float
    upper: float
    pairs: int
    users: int

    @property
    def departure(self) -> float:
        """How far the logit of what was visited lies above that of the scores."""
        return float(logit(self.visited_share) - logit(self.mean_score))

    @property
    def error(self) -> float:
        """The standard error of that."""
        return float(logit(self.upper) - logit(self.lower)) / (2.0 * _Z95)


@dataclass(frozen=True, kw_only=True)
class AffinityModel:
    """What is kept of a fit.

    `visitor_share` and `weekly_share` (merchants): the share of known users who visited in the window, and
    who visit in an average week. `redemptions_are_visits` where no purchase outside campaigns is known.
    `response` is how affinities move conversions in campaigns.
    """

    version: int
    merchants: Merchants
    visitor_share: FloatArray
    weekly_share: FloatArray
    similarities: Similarities
    returning: LogisticTerms
    first: LogisticTerms
    bands: tuple[Band, ...]
    redemptions_are_visits: bool
    response: AffinityResponse = UNKNOWN_RESPONSE

    @cached_property
    def taste_matrix(self) -> csr_array:
        """The similarities as they are multiplied with."""
        return self.similarities.matrix()

    @cached_property
    def taste_columns(self) -> csc_array:
        """The same by column: of each merchant the neighbours."""
        return csc_array(self.taste_matrix)

    @cached_property
    def positions(self) -> dict[int, int]:
        """Where each merchant id stands."""
        return {merchant_id: place for place, merchant_id in enumerate(self.merchants.ids.tolist())}

    def prepare(self) -> None:
        """Make all that answers need beside what is kept, so that no answer has to."""
        _ = self.taste_columns, self.positions

    def band_of(self, score: float) -> Band | None:
        """Return the band that a score lies in."""
        below = [band for band in self.bands if band.lower_score <= score]
        return below[-1] if below else None

    @cached_property
    def departure_variance(self) -> float:
        """How far bands depart from their scores beyond chance, on the logit, squared.

        By moments, around no departure at all (DerSimonian & Laird, Controlled Clinical Trials 7 (1986), eq.
        8): what the fit misses, and what the held-out week differs from that of the calibration by.
        """
        weights = [band.error**-2 for band in self.bands]
        excess = sum(
            weight * band.departure**2 - 1.0 for weight, band in zip(weights, self.bands, strict=True)
        )
        return max(excess / sum(weights), 0.0)

    def score_error(self, score: float) -> float | None:
        """Return the error of a score, on the logit; None where too few like it were held out.

        The band's own departure counts where it is larger than departures usually are: what is missed there
        is missed by the score.
        """
        band = self.band_of(score)
        if band is None:
            return None
        usual = self.departure_variance + band.error**2
        return math.sqrt(max(usual, band.departure**2))


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Pairs with the probability of a visit, in the order of `pairs`."""

    pairs: Pairs
    probability: FloatArray

    def select(self, chosen: BoolArray) -> "Scored":
        """Return the pairs where `chosen` holds."""
        return Scored(pairs=self.pairs.select(chosen), probability=self.probability[chosen])


def score_pairs(pairs: Pairs, returning: LogisticTerms, first: LogisticTerms) -> FloatArray:
    """Return the probability of a visit within the horizon, of every pair."""
    probability = np.empty(len(pairs.key))
    for terms, rows in ((returning, pairs.is_returning), (first, ~pairs.is_returning)):
        probability[rows] = expit(terms.calibrate(terms.logit(pairs.matrix(terms.names, rows))))
    return probability


def score_users(model: AffinityModel, evidence: Evidence, also: IntArray | None = None) -> Scored:
    """Return the scores of every user's candidates; `also` are merchants (positions) scored for everybody."""
    taste = similar_taste(evidence, model.taste_matrix)
    keys = candidate_keys(evidence, taste, model.visitor_share, also)
    pairs = pair_features(evidence, taste, model.merchants, model.visitor_share, keys)
    return Scored(pairs=pairs, probability=score_pairs(pairs, model.returning, model.first))


def best_rows(scored: Scored, merchant_count: int, limit: int) -> IntArray:
    """Return the rows of each user's `limit` best pairs: user by user, the best first, ties by merchant."""
    user = scored.pairs.key // merchant_count
    order = np.lexsort((scored.pairs.key, -scored.probability, user))
    starts = np.searchsorted(user[order], user[order])
    return order[np.arange(len(order)) - starts < limit]


def population_ranking(weekly_share: FloatArray) -> Sequence[int]:
    """Return the merchants (positions) by how many users visit them in a week, for a user nobody knows."""
    return [int(place) for place in np.argsort(-weekly_share, kind="stable")]
