"""The UCI in-vehicle coupon survey, as columns of words: who was offered what, when, and who took it.

Wang et al. 2017, "A Bayesian framework for learning rule sets for interpretable classification", JMLR 18; UCI
Machine Learning Repository, data set 603. A respondent answered some twenty scenes. The file does not say
which answers are one respondent's: they are told apart by what the respondent said of themselves.
"""

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from services.optimizer.domain.features import FloatArray, IntArray

FILE: Final = "coupons_train.csv.gz"
OFFER_COLUMNS: Final = ("coupon", "expiration", "time")
"""Offer type, expiry and time of day."""
DEMOGRAPHIC_COLUMNS: Final = (
    *("gender", "age", "maritalStatus", "has_children", "education", "occupation", "income", "car"),
)
HABIT_COLUMNS: Final = ("Bar", "CoffeeHouse", "CarryAway", "RestaurantLessThan20", "Restaurant20To50")
"""How often the respondent goes to such places; the same in all of a respondent's answers."""
ANSWER: Final = "Y"


class SourceError(Exception):
    """The data is not where it was looked for; the message says what would help."""


@dataclass(frozen=True, kw_only=True)
class Coupons:
    """One row per scene: its words by column, whether the coupon was taken (0, 1), and whose answer it is."""

    words: dict[str, tuple[str, ...]]
    taken: FloatArray
    respondent: IntArray

    def __len__(self) -> int:
        return len(self.taken)

    def codes(self, column: str) -> IntArray:
        """Return a column's words as numbers (rows,), in the order of the words."""
        _, codes = np.unique(self.words[column], return_inverse=True)
        return codes.astype(np.int64)


def read_coupons(folder: Path) -> Coupons:
    """Return the survey in `folder`.

    Raises:
        SourceError: the file is not there, or lacks a column.
    """
    path = folder / FILE
    if not path.is_file():
        raise SourceError(f"{path} is not there; name the folder of {FILE} with --data")
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = (*OFFER_COLUMNS, *DEMOGRAPHIC_COLUMNS, *HABIT_COLUMNS, ANSWER)
    missing = [name for name in wanted if not rows or name not in rows[0]]
    if missing:
        raise SourceError(f"{path} lacks {', '.join(missing)}")
    words = {name: tuple(row[name] for row in rows) for name in wanted}
    return Coupons(
        words=words,
        taken=np.array([float(word) for word in words[ANSWER]]),
        respondent=_tell_apart([words[name] for name in DEMOGRAPHIC_COLUMNS]),
    )


def _tell_apart(columns: Sequence[Sequence[str]]) -> IntArray:
    """Return a number per distinct row of words; respondents alike in all of them count as one."""
    known: dict[tuple[str, ...], int] = {}
    return np.array([known.setdefault(row, len(known)) for row in zip(*columns, strict=True)], dtype=np.int64)
