"""What the optimizer's forest makes of the survey: trained by its own code, held out by respondent or not.

Every row counts once, as a row of one view does in a training of ours. Words become ranks by their rate in
the rows fitted, as merchants do (`domain/features.fit_encoding`; Breiman et al. 1984, theorem 4.5).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtrit
from sklearn.metrics import roc_auc_score

from examples.uci_coupons.source import Coupons
from services.optimizer.domain.features import BoolArray, Float32Array, FloatArray, IntArray
from services.optimizer.training.forest import ExportedForest, export_forest, fit_forest, measure_parity

FOLDS: Final = 5
_SMOOTHING: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Score:
    """How well held-out answers are told apart: one area under the ROC curve per fold, and parity's worst."""

    folds: tuple[float, ...]
    parity_error: float

    @property
    def mean(self) -> float:
        """The mean area over the folds."""
        return float(np.mean(self.folds))

    @property
    def interval(self) -> tuple[float, float]:
        """The mean's 95 % interval by Student's t over the folds.

        A little too narrow: folds share the rows that they are fitted on.
        """
        error = float(np.std(self.folds, ddof=1)) / len(self.folds) ** 0.5
        reach = float(stdtrit(len(self.folds) - 1, 0.975)) * error
        return self.mean - reach, self.mean + reach


def score(
    coupons: Coupons, columns: Sequence[str], *, by_respondent: bool, folds: int = FOLDS, seed: int = 0
) -> Score:
    """Return how the forest does from `columns` in a cross-validation.

    Args:
        coupons: the survey.
        columns: what the forest sees.
        by_respondent: whether all answers of a respondent are held out together, or rows at random.
        folds: how many.
        seed: draws the folds.
    """
    units = coupons.respondent if by_respondent else np.arange(len(coupons))
    fold = _draw_folds(units, folds, np.random.default_rng(seed))
    scores, parities = [], []
    for held_out in (fold == each for each in range(folds)):
        features = encode(coupons, columns, ~held_out)
        fitted = features[~held_out]
        forest = fit_forest(
            fitted, coupons.taken[~held_out], np.ones(len(fitted)), on_progress=lambda _: None
        )
        exported = ExportedForest(export_forest(forest))
        parities.append(measure_parity(forest, exported, features[held_out]))
        scores.append(float(roc_auc_score(coupons.taken[held_out], exported.predict(features[held_out]))))
    return Score(folds=tuple(scores), parity_error=max(parities))


def encode(coupons: Coupons, columns: Sequence[str], fitted: BoolArray) -> Float32Array:
    """Return features (rows, columns): each word's rank by its rate in the `fitted` rows, and in no other."""
    ranks = [_rank(coupons.codes(column), coupons.taken, fitted) for column in columns]
    return np.column_stack(ranks).astype(np.float32)


def _rank(codes: IntArray, taken: FloatArray, fitted: BoolArray) -> IntArray:
    count = int(codes.max()) + 1
    rows = np.bincount(codes[fitted], minlength=count)
    sums = np.bincount(codes[fitted], weights=taken[fitted], minlength=count)
    rates = (sums + _SMOOTHING * taken[fitted].mean()) / (rows + _SMOOTHING)
    return np.argsort(np.argsort(rates, kind="stable"), kind="stable")[codes]


def _draw_folds(units: IntArray, count: int, rng: np.random.Generator) -> IntArray:
    """Return a fold per row; rows of one unit share theirs."""
    distinct, inverse = np.unique(units, return_inverse=True)
    folds = rng.permutation(len(distinct)) % count
    return np.asarray(folds[inverse])
