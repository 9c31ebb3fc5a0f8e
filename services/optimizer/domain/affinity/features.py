"""The features of a pair of user and merchant, by the same code for the fit, the job and a live answer."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.optimizer.domain.affinity.contacts import (
    HABIT_HALF_LIFE,
    RECENT_HALF_LIFE,
    BoolArray,
    Evidence,
    FloatArray,
    IntArray,
    total_by,
    weighted_days,
)
from services.optimizer.domain.affinity.similarity import SimilarTaste, best_by_taste, look_up

RETURNING_FEATURES: Final = (
    "recent_rate",
    "habit_rate",
    "long_rate",
    "habit_share",
    "last_visit",
    "known_days",
    "user_recent_rate",
    "user_rate",
    "similar_taste",
    "popularity",
    "redemptions",
    "passings",
    "nearness",
    "category_share",
)
"""Of a pair that met by a visit before."""
FIRST_FEATURES: Final = (*RETURNING_FEATURES[5:13], "is_far", "category_share")
"""Of a pair that did not."""
POPULAR_COUNT: Final = 100
"""Merchants considered for everybody."""
FAR_KM: Final = 50.0
_PRIOR_VISITS: Final = 0.05
_PRIOR_USER_VISITS: Final = 0.3
_PRIOR_DAYS: Final = 7.0
_PRIOR_TASTE: Final = 1e-3
_PRIOR_SHARE: Final = 1e-5
_EARTH_RADIUS_KM: Final = 6371.0
_HALF: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class Merchants:
    """The merchants by ascending id.

    `category` is a position in `categories` (-1: unknown), latitude and longitude are degrees (NaN: unknown).
    """

    ids: IntArray
    names: tuple[str, ...]
    categories: tuple[str, ...]
    category: IntArray
    latitude: FloatArray
    longitude: FloatArray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs with their features; `values` has `RETURNING_FEATURES` and `is_far` by name, one value per pair.

    `is_returning` says where the user visited the merchant before; `distance_km` is NaN where unknown.
    """

    key: IntArray
    is_returning: BoolArray
    distance_km: FloatArray
    values: dict[str, FloatArray]

    def matrix(self, names: tuple[str, ...], rows: BoolArray) -> FloatArray:
        """Return the features named (rows, features), NaN where unknown."""
        return np.column_stack([self.values[name][rows] for name in names])

    def select(self, chosen: BoolArray) -> "Pairs":
        """Return the pairs where `chosen` holds."""
        return Pairs(
            key=self.key[chosen],
            is_returning=self.is_returning[chosen],
            distance_km=self.distance_km[chosen],
            values={name: values[chosen] for name, values in self.values.items()},
        )


def candidate_keys(
    evidence: Evidence, taste: SimilarTaste, visitor_share: FloatArray, also: IntArray | None = None
) -> IntArray:
    """Return the pairs (ascending keys) worth a look: met, near in taste, popular, or named in `also`."""
    popular = np.argsort(-visitor_share, kind="stable")[:POPULAR_COUNT]
    everywhere = popular if also is None else np.union1d(popular, also)
    users = np.arange(evidence.user_count)[:, np.newaxis] * evidence.merchant_count
    return np.unique(
        np.concatenate([evidence.key, best_by_taste(evidence, taste), (users + everywhere).ravel()])
    )


def pair_features(
    evidence: Evidence, taste: SimilarTaste, merchants: Merchants, visitor_share: FloatArray, key: IntArray
) -> Pairs:
    """Return the features of the pairs of ascending `key`."""
    user, merchant = key // evidence.merchant_count, key % evidence.merchant_count

    def known(values: FloatArray, missing: float = 0.0) -> FloatArray:
        return look_up(evidence.key, values, key, missing=missing)

    recent_days = weighted_days(evidence.tenure, RECENT_HALF_LIFE) + _PRIOR_DAYS
    habit_days = weighted_days(evidence.tenure, HABIT_HALF_LIFE) + _PRIOR_DAYS
    habit, total = known(evidence.habit), known(evidence.total)
    distance = _distance_km(evidence, merchants, user, merchant)
    with np.errstate(invalid="ignore"):
        is_far = np.where(np.isnan(distance), np.nan, (distance > FAR_KM).astype(np.float64))
    values = {
        "recent_rate": np.log((known(evidence.recent) + _PRIOR_VISITS) / recent_days[user]),
        "habit_rate": np.log((habit + _PRIOR_VISITS) / habit_days[user]),
        "long_rate": np.log((total + _PRIOR_VISITS) / (evidence.tenure + _PRIOR_DAYS)[user]),
        "habit_share": np.sqrt(habit / (evidence.user_habit[user] + 1.0)),
        "last_visit": np.log1p(known(evidence.last_age, np.nan)),
        "known_days": np.log(habit_days)[user],
        "user_recent_rate": np.log((evidence.user_recent + _PRIOR_USER_VISITS) / recent_days)[user],
        "user_rate": np.log((evidence.user_habit + _PRIOR_USER_VISITS) / habit_days)[user],
        "similar_taste": np.log(taste.of(key) + _PRIOR_TASTE),
        "popularity": np.log(visitor_share[merchant] + _PRIOR_SHARE),
        "redemptions": np.log1p(known(evidence.redemptions)),
        "passings": np.log1p(known(evidence.passings)),
        "nearness": -np.log1p(distance),
        "is_far": is_far,
        "category_share": _category_share(evidence, merchants, user, merchant, habit),
    }
    return Pairs(key=key, is_returning=total > 0, distance_km=distance, values=values)


def visitor_shares(evidence: Evidence) -> FloatArray:
    """Return the share of the users known by contacts who visited each merchant."""
    visitors = np.bincount(evidence.merchant[evidence.total > 0], minlength=evidence.merchant_count)
    return np.asarray(visitors / max(int(np.sum(evidence.tenure > 0)), 1), dtype=np.float64)


def _category_share(
    evidence: Evidence, merchants: Merchants, user: IntArray, merchant: IntArray, habit: FloatArray
) -> FloatArray:
    """Share of the user's other fading visits that are in the merchant's category; NaN if that is unknown."""
    width = len(merchants.categories) + 1
    place = evidence.user * width + merchants.category[evidence.merchant] + 1
    sums = total_by(place, evidence.habit, evidence.user_count * width)
    category = merchants.category[merchant]
    elsewhere = np.maximum(sums[user * width + category + 1] - habit, 0.0)
    share = elsewhere / (np.maximum(evidence.user_habit[user] - habit, 0.0) + 1.0)
    return np.where(category < 0, np.nan, share)


def _distance_km(evidence: Evidence, merchants: Merchants, user: IntArray, merchant: IntArray) -> FloatArray:
    """Great-circle distance (haversine) from where the user mostly is; NaN where either place is unknown."""
    latitude = _user_medians(evidence, merchants.latitude)[user]
    longitude = _user_medians(evidence, merchants.longitude)[user]
    there = np.radians(merchants.latitude[merchant]), np.radians(merchants.longitude[merchant])
    here = np.radians(latitude), np.radians(longitude)
    squared = (
        np.sin((there[0] - here[0]) / 2) ** 2
        + np.cos(here[0]) * np.cos(there[0]) * np.sin((there[1] - here[1]) / 2) ** 2
    )
    return np.asarray(2 * _EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(squared, 1.0))), dtype=np.float64)


def _user_medians(evidence: Evidence, coordinate: FloatArray) -> FloatArray:
    """Median by user of a coordinate of the merchants met, weighted by contacts; NaN for nowhere known.

    A median, so that one journey does not move a user into the sea.
    """
    value = coordinate[evidence.merchant]
    weight = evidence.habit + evidence.passings + evidence.redemptions
    located = ~np.isnan(value)
    user, value, weight = evidence.user[located], value[located], weight[located]
    order = np.lexsort((value, user))
    user, value, weight = user[order], value[order], weight[order]
    sums = total_by(user, weight, evidence.user_count)
    before = np.concatenate(([0.0], np.cumsum(sums)))[:-1]
    reached = (np.cumsum(weight) - before[user]) >= _HALF * sums[user] * (1.0 - 1e-9)
    medians = np.full(evidence.user_count, np.nan)
    position = np.flatnonzero(reached)
    owners, first = np.unique(user[position], return_index=True)
    medians[owners] = value[position[first]]
    return medians
