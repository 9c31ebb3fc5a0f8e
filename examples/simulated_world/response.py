"""The equations of the simulated world: how a user answers a delivery. README.md has them in one place.

Everything here is a pure function of arrays, so that the generator draws from the same curves that the
evaluation takes as the truth.
"""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]

MIN_OFFER: Final = 5.0
MAX_OFFER: Final = 25.0
OFFER_STEP: Final = 2.5
OFFER_LEVELS: Final[FloatArray] = np.arange(MIN_OFFER, MAX_OFFER + OFFER_STEP / 2, OFFER_STEP)
CURVE_OFFERS: Final[FloatArray] = np.linspace(MIN_OFFER, MAX_OFFER, 41)

# Per campaign type, in the order of the wire's enum: location deal, flash sale, loyalty reward, win back,
# new merchant, birthday, cross sell.
TYPE_INTERCEPT: Final[FloatArray] = np.array([-3.0, -3.3, -2.4, -3.9, -3.5, -2.3, -3.2])
TYPE_STRENGTH: Final[FloatArray] = np.array([3.9, 4.4, 3.0, 4.8, 4.2, 3.2, 3.6])
TYPE_HALF_SATURATION: Final[FloatArray] = np.array([9.0, 10.5, 8.0, 13.5, 11.5, 9.5, 12.0])
TYPE_STEEPNESS: Final[FloatArray] = np.array([3.0, 4.0, 2.5, 4.5, 3.5, 4.0, 3.0])

# Monday to Sunday: slow starts of the week, on which some campaigns raise their offer.
WEEKDAY_EFFECT: Final[FloatArray] = np.array([-0.40, -0.30, -0.15, 0.0, 0.30, 0.40, 0.15])
SEASON_AMPLITUDE: Final = 0.12
SEASON_DAYS: Final = 90.0
HOUR_EFFECT: Final = 0.5
PREFERENCE_EFFECT: Final = 0.35
CAMPAIGN_DAY_NOISE: Final = 0.10

VIEW_FLOOR: Final = 0.34
VIEW_CEILING: Final = 0.95


def logistic(values: FloatArray) -> FloatArray:
    """The logistic function, 1 / (1 + exp(-values))."""
    return np.asarray(1.0 / (1.0 + np.exp(-values)), dtype=np.float64)


def offer_effect(offers: FloatArray, campaign_types: NDArray[np.intp]) -> FloatArray:
    """What an offer adds to the logit of a conversion given a view.

    A Hill curve per campaign type t: `strength_t * x^n_t / (x^n_t + k_t^n_t)`. It rises with the offer and
    saturates. `offers` (currency units) and `campaign_types` (0 to 6) broadcast against each other.
    """
    steepness = TYPE_STEEPNESS[campaign_types]
    powered = offers**steepness
    half = TYPE_HALF_SATURATION[campaign_types] ** steepness
    return np.asarray(TYPE_STRENGTH[campaign_types] * powered / (powered + half), dtype=np.float64)


def view_probability(hour_profile: FloatArray) -> FloatArray:
    """Probability that a delivery is viewed, from the user's profile at the delivery's local hour."""
    return VIEW_FLOOR + (VIEW_CEILING - VIEW_FLOOR) * hour_profile


def hour_effect(hour_profile: FloatArray) -> FloatArray:
    """What the user's profile at the local hour adds to the logit of a conversion given a view."""
    return HOUR_EFFECT * (hour_profile - 0.5)


def preference_effect(preferences: FloatArray) -> FloatArray:
    """What a user's visiting probability at the merchant adds to the logit of a conversion given a view."""
    return PREFERENCE_EFFECT * np.log1p(10.0 * preferences)


def season_effect(days: FloatArray) -> FloatArray:
    """The market's slow swing over the window; `days` counts from its first day."""
    return SEASON_AMPLITUDE * np.sin(2.0 * np.pi * days / SEASON_DAYS)
