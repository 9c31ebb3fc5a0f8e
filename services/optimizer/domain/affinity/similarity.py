"""Which merchants share customers: item-item collaborative filtering, with what was found kept.

The similarity of two merchants is the cosine of their visitors (Sarwar, Karypis, Konstan, Riedl: "Item-based
collaborative filtering recommendation algorithms", WWW 2001, section 3.1.1); of each merchant the
`NEIGHBOUR_COUNT` most similar ones are kept. A user's score for a merchant is the sum of the user's habits at
the merchant's neighbours, weighted by similarity and divided by the sum of similarities (their section 3.2.1)
with `PRIOR_SIMILARITY` added, so that a merchant of few neighbours is not liked for one of them, and by the
sum of the user's habits.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.sparse import csr_array

from services.optimizer.domain.affinity.contacts import Evidence, FloatArray, IntArray, total_by

NEIGHBOUR_COUNT: Final = 50
PRIOR_SIMILARITY: Final = 0.3
CANDIDATE_COUNT: Final = 200
"""Merchants considered at most for a user because others like the user go there."""


@dataclass(frozen=True, kw_only=True)
class Similarities:
    """The kept similarities: entry i says that visitors of `neighbour[i]` are visitors of `merchant[i]`."""

    merchant_count: int
    merchant: IntArray
    neighbour: IntArray
    similarity: FloatArray

    def matrix(self) -> csr_array:
        """Return (neighbour, merchant)."""
        shape = (self.merchant_count, self.merchant_count)
        sums = total_by(self.merchant, self.similarity, self.merchant_count)
        values = self.similarity / (sums[self.merchant] + PRIOR_SIMILARITY)
        return csr_array((values, (self.neighbour, self.merchant)), shape=shape)


def habit_matrix(evidence: Evidence) -> csr_array:
    """Return (users, merchants): how used each user is to each merchant, log(1 + fading visits)."""
    shape = (evidence.user_count, evidence.merchant_count)
    return csr_array((np.log1p(evidence.habit), (evidence.user, evidence.merchant)), shape=shape)


@dataclass(frozen=True, kw_only=True)
class SimilarTaste:
    """Scores of pairs by collaborative filtering; `key` (ascending) as in `Evidence`."""

    key: IntArray
    score: FloatArray

    def of(self, key: IntArray) -> FloatArray:
        """Return the scores of pairs, 0 where there is none."""
        return look_up(self.key, self.score, key, missing=0.0)


def look_up(keys: IntArray, values: FloatArray, wanted: IntArray, *, missing: float) -> FloatArray:
    """Return the value of each wanted key out of ascending `keys`."""
    if not len(keys):
        return np.full(len(wanted), missing)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], missing)


def similar_taste(evidence: Evidence, matrix: csr_array) -> SimilarTaste:
    """Return the score of every pair that has one."""
    product = csr_array(habit_matrix(evidence) @ matrix)
    product.sort_indices()
    users = np.repeat(np.arange(evidence.user_count), np.diff(product.indptr))
    key = users * evidence.merchant_count + product.indices
    habits = total_by(evidence.user, np.log1p(evidence.habit), evidence.user_count)
    return SimilarTaste(key=key.astype(np.int64), score=product.data / habits[users])


def best_by_taste(evidence: Evidence, taste: SimilarTaste) -> IntArray:
    """Return the keys of each user's `CANDIDATE_COUNT` best pairs by taste."""
    users = taste.key // evidence.merchant_count
    order = np.lexsort((-taste.score, users))
    starts = np.searchsorted(users[order], np.arange(evidence.user_count))
    rank = np.arange(len(order)) - starts[users[order]]
    return np.sort(taste.key[order[rank < CANDIDATE_COUNT]])
