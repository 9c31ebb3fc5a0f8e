"""Why a merchant is near to a user, in words: what pushed the score up, the weightiest first."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.sparse import csc_array

from services.optimizer.domain.affinity.contacts import WINDOW_DAYS, Evidence, FloatArray, IntArray
from services.optimizer.domain.affinity.features import Merchants, Pairs
from services.optimizer.domain.affinity.model import AffinityModel, LogisticTerms
from services.optimizer.domain.affinity.similarity import look_up

HABIT_FEATURES: Final = ("recent_rate", "habit_rate", "long_rate", "habit_share", "last_visit", "known_days")
_NAMED_NEIGHBOURS: Final = 2
_LEAST_SHARE: Final = 0.05
_LEAST_KM: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Explainer:
    """Gives reasons for pairs of one batch of users."""

    model: AffinityModel
    evidence: Evidence
    pairs: Pairs

    def reasons(self, rows: IntArray) -> list[tuple[str, ...]]:
        """Return the reasons of each of the rows of `pairs`; at least one each."""
        explained: list[tuple[str, ...]] = [()] * len(rows)
        for terms, returning in ((self.model.returning, True), (self.model.first, False)):
            places = np.flatnonzero(self.pairs.is_returning[rows] == returning)
            chosen = rows[places]
            values = np.column_stack([self.pairs.values[name][chosen] for name in terms.names])
            pushes = terms.contributions(values)
            known = self.model.returning.intercept - self.model.first.intercept if returning else 0.0
            for place, row, push in zip(places.tolist(), chosen.tolist(), pushes, strict=True):
                explained[place] = self._explain(row, _weights(terms, push, known))
        return explained

    def _explain(self, row: int, weights: dict[str, float]) -> tuple[str, ...]:
        found: list[tuple[float, str]] = []
        for name, say in (
            ("habit", self._habit),
            ("similar_taste", self._similar_taste),
            ("passings", self._passings),
            ("redemptions", self._redemptions),
            ("nearness", self._nearness),
            ("category_share", self._category),
            ("popularity", self._popularity),
        ):
            text = say(row)
            if text and (weights[name] > 0 or name == "habit"):
                found.append((weights[name], text))
        found.sort(key=lambda each: -each[0])
        return tuple(text for _, text in found) or (self._popularity(row),)

    def _known(self, values: FloatArray, row: int) -> float:
        key = self.pairs.key[row : row + 1]
        return float(look_up(self.evidence.key, values, key, missing=0.0)[0])

    def _merchant(self, row: int) -> int:
        return int(self.pairs.key[row] % self.evidence.merchant_count)

    def _habit(self, row: int) -> str:
        days = round(self._known(self.evidence.total, row))
        if not days:
            return ""
        user = int(self.pairs.key[row] // self.evidence.merchant_count)
        known = round(float(self.evidence.tenure[user]))
        ago = round(self._known(self.evidence.last_age, row)) - 1
        last = "today" if ago == 0 else "yesterday" if ago == 1 else f"{ago} days ago"
        if days == 1:
            return f"bought here once, {last}"
        return f"bought here on {days} of the last {known} days, last {last}"

    def _similar_taste(self, row: int) -> str:
        neighbours = _weightiest_neighbours(
            self.model.taste_columns, self.evidence, self.pairs.key[row], self._merchant(row)
        )
        if not neighbours:
            return ""
        names = " and ".join(merchant_name(self.model.merchants, place) for place in neighbours)
        return f"customers of {names}, where the user buys, also buy here"

    def _passings(self, row: int) -> str:
        return "passed by lately (geofence)" if self._known(self.evidence.passings, row) > 0 else ""

    def _redemptions(self, row: int) -> str:
        return "took up an offer here before" if self._known(self.evidence.redemptions, row) > 0 else ""

    def _nearness(self, row: int) -> str:
        distance = float(self.pairs.distance_km[row])
        if np.isnan(distance):
            return ""
        if distance < _LEAST_KM:
            return "right where the user mostly is"
        return f"{distance:.1f} km from where the user mostly is"

    def _category(self, row: int) -> str:
        share = float(self.pairs.values["category_share"][row])
        if np.isnan(share) or share < _LEAST_SHARE:
            return ""
        merchants = self.model.merchants
        category = merchants.categories[merchants.category[self._merchant(row)]]
        return f"{share:.0%} of the user's other purchases are in the category {category}"

    def _popularity(self, row: int) -> str:
        share = float(self.model.visitor_share[self._merchant(row)])
        return f"{share:.1%} of all users bought here in the last {WINDOW_DAYS} days"


def merchant_name(merchants: Merchants, place: int) -> str:
    """Return a merchant's name, or what to call it without one."""
    return merchants.names[place] or f"merchant {merchants.ids[place]}"


def population_reason(weekly_share: float) -> str:
    """Return the reason for a user of whom nothing is known."""
    return f"{weekly_share:.1%} of all users buy here in a week; of this user nothing is known yet"


def _weights(terms: LogisticTerms, push: FloatArray, known: float) -> dict[str, float]:
    """Return what each reason adds to the logit; `known` is what a visit at all adds to that of none."""
    by_name = dict(zip(terms.names, push.tolist(), strict=True))
    weights = {
        name: by_name.get(name, 0.0)
        for name in ("similar_taste", "passings", "redemptions", "nearness", "category_share", "popularity")
    }
    weights["nearness"] += by_name.get("is_far", 0.0)
    weights["habit"] = known + sum(by_name.get(name, 0.0) for name in HABIT_FEATURES)
    return weights


def _weightiest_neighbours(columns: csc_array, evidence: Evidence, key: int, merchant: int) -> list[int]:
    """Return the merchants that the user is used to and that speak most for this one."""
    first = key - merchant
    start, end = np.searchsorted(evidence.key, [first, first + evidence.merchant_count])
    begin, stop = columns.indptr[merchant], columns.indptr[merchant + 1]
    neighbours, weights = columns.indices[begin:stop].astype(np.int64), columns.data[begin:stop]
    habits = look_up(
        evidence.key[start:end] - first, np.log1p(evidence.habit[start:end]), neighbours, missing=0.0
    )
    speaks = habits * weights
    best = np.lexsort((neighbours, -speaks))[:_NAMED_NEIGHBOURS]
    return [int(neighbours[place]) for place in best if speaks[place] > 0]
