"""Fits the similarities of merchants: the cosine of their visitors, by scikit-learn."""

from typing import Final

import numpy as np
from scipy.sparse import csr_array
from sklearn.metrics.pairwise import cosine_similarity

from services.optimizer.domain.affinity.contacts import Evidence
from services.optimizer.domain.affinity.similarity import NEIGHBOUR_COUNT, Similarities

_MERCHANTS_AT_ONCE: Final = 500


def fit_similarities(evidence: Evidence) -> Similarities:
    """Return each merchant's most similar merchants; who visited at all counts, not how often."""
    visited = evidence.total > 0
    shape = (evidence.merchant_count, evidence.user_count)
    ones = np.ones(int(visited.sum()))
    visitors = csr_array((ones, (evidence.merchant[visited], evidence.user[visited])), shape=shape)
    parts = []
    for start in range(0, evidence.merchant_count, _MERCHANTS_AT_ONCE):
        block = cosine_similarity(visitors[start : start + _MERCHANTS_AT_ONCE], visitors)
        own = np.arange(len(block))
        block[own, start + own] = 0.0
        best = np.argsort(-block, axis=1, kind="stable")[:, :NEIGHBOUR_COUNT]
        values = np.take_along_axis(block, best, axis=1)
        row, column = np.nonzero(values)
        parts.append((start + row, best[row, column], values[row, column]))
    merchant, neighbour, similarity = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Similarities(
        merchant_count=evidence.merchant_count,
        merchant=merchant.astype(np.int64),
        neighbour=neighbour.astype(np.int64),
        similarity=similarity.astype(np.float64),
    )
