"""The reward model of doubly robust estimates: what a decision brings, from its context and its action alone.

Ridge regression on the saturating terms of the offer, the decision's context, and their products;
cross-fitted: the model that speaks for a user's decisions was fitted to other users' (Chernozhukov et al.,
"Double/debiased machine learning", Econometrics Journal 21 (2018), definition 3.2). So it may be as wrong as
it likes: with true propensities the doubly robust estimate stays unbiased, and is only as precise as the
model is good.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.response.decision_table import IntArray
from services.optimizer.domain.response.response import saturating_terms

FOLDS: Final = 5
RIDGE: Final = 10.0
"""Decisions' worth of pull of every coefficient but the intercept towards 0."""
STANDING: Final = 1e-9
"""A context that varies less than this is a constant, and left out."""


@dataclass(frozen=True, kw_only=True)
class CrossFitted:
    """One linear model per fold: `coefficients` (folds, terms), and which speaks for a decision (n)."""

    coefficients: FloatArray
    fold: IntArray
    context: FloatArray

    def predict(self, offers: FloatArray) -> FloatArray:
        """Return the expected reward of each decision under an offer (currency units, n)."""
        expected = np.empty(len(offers))
        for fold, coefficients in enumerate(self.coefficients):
            own = self.fold == fold
            expected[own] = _terms(offers[own], self.context[own]) @ coefficients
        return expected


def cross_fit(reward: FloatArray, offers: FloatArray, context: FloatArray, user: IntArray) -> CrossFitted:
    """Fit the reward (n) to offers (n, currency units) and context (n, k), each user's own fold left out."""
    spread = context.std(axis=0)
    varied = context[:, spread > STANDING]
    scaled = (varied - varied.mean(axis=0)) / spread[spread > STANDING]
    fold = np.asarray(user % FOLDS, dtype=np.intp)
    parts = [_sums(reward[fold == k], offers[fold == k], scaled[fold == k]) for k in range(FOLDS)]
    gram, moment = np.stack([part[0] for part in parts]), np.stack([part[1] for part in parts])
    pull = np.diag([1e-6, *[RIDGE] * (gram.shape[1] - 1)])
    left_out = np.linalg.solve(
        gram.sum(axis=0) - gram + pull, (moment.sum(axis=0) - moment)[:, :, np.newaxis]
    )
    return CrossFitted(coefficients=left_out[:, :, 0], fold=fold, context=scaled)


def _sums(reward: FloatArray, offers: FloatArray, context: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return what a fit needs of one fold; the terms of all at once would be too large to hold."""
    terms = _terms(offers, context)
    return np.asarray(terms.T @ terms), np.asarray(terms.T @ reward)


def _terms(offers: FloatArray, context: FloatArray) -> FloatArray:
    """Return 1, the offer's terms, the context, and every product of the two (n, (1 + 3) (1 + k))."""
    ones = np.ones((len(offers), 1))
    by_offer = np.hstack((ones, saturating_terms(offers)))
    by_context = np.hstack((ones, context))
    return np.asarray((by_offer[:, :, np.newaxis] * by_context[:, np.newaxis, :]).reshape(len(offers), -1))
