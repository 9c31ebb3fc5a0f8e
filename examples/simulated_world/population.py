"""Who lives in the simulated world: merchants, and users with habits.

Everything is drawn once from the seed. Arrays are indexed by position: user 17 is row 17 everywhere.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from examples.simulated_world.response import FloatArray

IntArray: TypeAlias = NDArray[np.intp]
BoolArray: TypeAlias = NDArray[np.bool_]

DAYS: Final = 90
HOURS: Final = 24
USER_COUNT: Final = 5_000
MERCHANT_COUNT: Final = 50
FIRST_WAKING_HOUR: Final = 7
LAST_WAKING_HOUR: Final = 22
FAVOURITE_COUNT: Final = 3


@dataclass(frozen=True, kw_only=True)
class City:
    """A city with its share of the users; its merchants and users lie around its centre."""

    time_zone: str
    latitude: float
    longitude: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Category:
    """A merchant category with the mean basket (currency units) and the share of it that is gross margin."""

    name: str
    mean_basket: float
    margin: float


CITIES: Final = (
    City(time_zone="America/New_York", latitude=40.74, longitude=-73.99, share=0.34),
    City(time_zone="America/Chicago", latitude=41.88, longitude=-87.64, share=0.26),
    City(time_zone="America/Los_Angeles", latitude=34.05, longitude=-118.25, share=0.17),
    City(time_zone="America/Denver", latitude=39.74, longitude=-104.99, share=0.12),
    City(time_zone="America/Phoenix", latitude=33.45, longitude=-112.07, share=0.11),
)
CATEGORIES: Final = (
    Category(name="restaurant", mean_basket=58.0, margin=0.62),
    Category(name="grocery", mean_basket=105.0, margin=0.30),
    Category(name="fashion", mean_basket=88.0, margin=0.50),
    Category(name="electronics", mean_basket=150.0, margin=0.24),
    Category(name="beauty", mean_basket=62.0, margin=0.58),
    Category(name="entertainment", mean_basket=52.0, margin=0.66),
)
LIFECYCLES: Final = ("regular", "loyal", "lapsed", "new")
LIFECYCLE_SHARE: Final[FloatArray] = np.array([0.45, 0.25, 0.22, 0.08])
LIFECYCLE_EFFECT: Final[FloatArray] = np.array([0.0, 0.45, -0.65, -0.10])
HIGH_VALUE_EFFECT: Final = 0.20
_NAME_HEADS: Final = (
    "Blue Harbor",
    "Maple",
    "Copper Kettle",
    "Juniper",
    "Granite",
    "Sunrise",
    "Cedar",
    "Lantern",
)
_NAME_TAILS: Final = ("Kitchen", "Market", "Outfitters", "Electric", "Apothecary", "Playhouse")
_PEAK_HOURS: Final[FloatArray] = np.array([8.5, 12.5, 17.5, 20.5])
_PEAK_SHARE: Final[FloatArray] = np.array([0.22, 0.24, 0.30, 0.24])
_TASTE_GROUPS: Final = 6
_KM_PER_DEGREE: Final = 111.0


@dataclass(frozen=True, kw_only=True)
class Merchants:
    """The merchants; the id is the position plus one. Baskets in currency units, effects on the logit."""

    names: tuple[str, ...]
    category: IntArray
    city: IntArray
    latitude: FloatArray
    longitude: FloatArray
    mean_basket: FloatArray
    margin: FloatArray
    effect: FloatArray


@dataclass(frozen=True, kw_only=True)
class Users:
    """The users and their habits.

    `hour_profile` (users, 24) is 1 at the user's best local hour; `preferences` (users, merchants) are
    visiting probabilities that add to 1; `nearness` likewise, of passing by; `sign_up_day` counts from the
    window's first day and may be negative; `effect` is on the logit of a conversion.
    """

    city: IntArray
    lifecycle: IntArray
    high_value: BoolArray
    sign_up_day: IntArray
    latitude: FloatArray
    longitude: FloatArray
    hour_profile: FloatArray
    purchases_per_day: FloatArray
    preferences: FloatArray
    nearness: FloatArray
    effect: FloatArray


def draw_merchants(rng: np.random.Generator) -> Merchants:
    """Draw the merchants: as many in each city, categories in turn, baskets around their category's."""
    position = np.arange(MERCHANT_COUNT)
    city = position % len(CITIES)
    category = (position // len(CITIES) + city) % len(CATEGORIES)
    names = tuple(
        f"{_NAME_HEADS[index % len(_NAME_HEADS)]} {_NAME_TAILS[category[index]]} {index + 1}"
        for index in position
    )
    baskets = np.array([entry.mean_basket for entry in CATEGORIES])[category]
    margins = np.array([entry.margin for entry in CATEGORIES])[category]
    return Merchants(
        names=names,
        category=category,
        city=city,
        latitude=np.array([entry.latitude for entry in CITIES])[city] + rng.normal(0, 0.035, MERCHANT_COUNT),
        longitude=np.array([entry.longitude for entry in CITIES])[city]
        + rng.normal(0, 0.045, MERCHANT_COUNT),
        mean_basket=baskets * np.exp(rng.normal(0, 0.18, MERCHANT_COUNT)),
        margin=margins,
        effect=rng.normal(0, 0.30, MERCHANT_COUNT),
    )


def draw_users(rng: np.random.Generator, merchants: Merchants) -> Users:
    """Draw the users with their hours and their merchants."""
    city = rng.choice(len(CITIES), USER_COUNT, p=[entry.share for entry in CITIES])
    lifecycle = rng.choice(len(LIFECYCLES), USER_COUNT, p=LIFECYCLE_SHARE)
    high_value = rng.random(USER_COUNT) < np.array([0.15, 0.40, 0.10, 0.10])[lifecycle]
    is_new = lifecycle == LIFECYCLES.index("new")
    latitude = np.array([entry.latitude for entry in CITIES])[city] + rng.normal(0, 0.05, USER_COUNT)
    longitude = np.array([entry.longitude for entry in CITIES])[city] + rng.normal(0, 0.06, USER_COUNT)
    nearness = _draw_nearness(latitude, longitude, city, merchants)
    activity = np.exp(rng.normal(0, 0.25, USER_COUNT)) * np.array([1.0, 1.35, 0.75, 1.0])[lifecycle]
    return Users(
        city=city,
        lifecycle=lifecycle,
        high_value=high_value,
        sign_up_day=np.where(
            is_new, rng.integers(5, 50, USER_COUNT), -rng.integers(1, 900, USER_COUNT)
        ).astype(np.intp),
        latitude=latitude,
        longitude=longitude,
        hour_profile=_draw_hour_profiles(rng),
        purchases_per_day=activity * 40.0 / DAYS,
        preferences=_draw_preferences(rng, nearness, merchants),
        nearness=nearness,
        effect=LIFECYCLE_EFFECT[lifecycle] + HIGH_VALUE_EFFECT * high_value + rng.normal(0, 0.25, USER_COUNT),
    )


def _draw_hour_profiles(rng: np.random.Generator) -> FloatArray:
    """Two peaks per user over the waking hours, on a low floor; 1 at the best hour, 0 while asleep."""
    first = rng.choice(len(_PEAK_HOURS), USER_COUNT, p=_PEAK_SHARE)
    second = (first + rng.integers(1, len(_PEAK_HOURS), USER_COUNT)) % len(_PEAK_HOURS)
    middle_of_hour = np.arange(HOURS) + 0.5
    profile = np.full((USER_COUNT, HOURS), 0.06)
    for peak, height in ((first, np.ones(USER_COUNT)), (second, rng.uniform(0.25, 0.6, USER_COUNT))):
        centre = np.clip(_PEAK_HOURS[peak] + rng.normal(0, 1.1, USER_COUNT), 7.5, 22.5)
        distance = (middle_of_hour[np.newaxis, :] - centre[:, np.newaxis]) / 1.25
        profile += height[:, np.newaxis] * np.exp(-0.5 * distance**2)
    profile[:, :FIRST_WAKING_HOUR] = 0.0
    profile[:, LAST_WAKING_HOUR + 1 :] = 0.0
    return np.asarray(profile / profile.max(axis=1, keepdims=True), dtype=np.float64)


def _draw_nearness(
    latitude: FloatArray, longitude: FloatArray, city: IntArray, merchants: Merchants
) -> FloatArray:
    """Chance (users, merchants) to pass by a merchant: falls by 1/e every 5 km, zero in other cities."""
    north = (latitude[:, np.newaxis] - merchants.latitude) * _KM_PER_DEGREE
    east = (longitude[:, np.newaxis] - merchants.longitude) * _KM_PER_DEGREE
    east *= np.cos(np.radians(latitude))[:, np.newaxis]
    nearness = np.exp(-np.hypot(north, east) / 5.0)
    nearness[city[:, np.newaxis] != merchants.city] = 0.0
    return np.asarray(nearness / nearness.sum(axis=1, keepdims=True), dtype=np.float64)


def _draw_preferences(rng: np.random.Generator, nearness: FloatArray, merchants: Merchants) -> FloatArray:
    """Visiting probabilities: three clear favourites among the near and the liked, a tail over the others.

    Taste is a user's group's taste for the category plus the user's own: what groups share is what
    collaborative filtering can find.
    """
    group = rng.integers(_TASTE_GROUPS, size=USER_COUNT)
    group_taste = rng.normal(0, 1.2, (_TASTE_GROUPS, len(CATEGORIES)))
    utility = (
        group_taste[group][:, merchants.category]
        + rng.normal(0, 0.3, MERCHANT_COUNT)
        + rng.gumbel(0, 0.7, (USER_COUNT, MERCHANT_COUNT))
        + np.log(np.maximum(nearness, 1e-12))
    )
    tail = np.exp(utility - utility.max(axis=1, keepdims=True)) ** 0.5
    tail[nearness <= 0] = 0.0
    order = np.argsort(-utility, axis=1)[:, :FAVOURITE_COUNT]
    rows = np.arange(USER_COUNT)[:, np.newaxis]
    tail[rows, order] = 0.0
    favourites = rng.dirichlet([30.0, 22.0, 16.0], USER_COUNT)
    favourites = -np.sort(-favourites, axis=1) * rng.uniform(0.70, 0.88, (USER_COUNT, 1))
    preferences = tail * ((1.0 - favourites.sum(axis=1)) / tail.sum(axis=1))[:, np.newaxis]
    preferences[rows, order] = favourites
    return np.asarray(preferences, dtype=np.float64)
