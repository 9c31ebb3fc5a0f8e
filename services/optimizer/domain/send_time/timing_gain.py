"""How what another hour is expected to bring becomes a gain: calibrated by conversions nobody was fitted to.

A user's values by hour are posterior means: shrunk, of a fitted shape, and no surer than the profile that all
users share. So their gains are not taken at their word. The job that fits the profile predicts deliveries of
campaigns that it leaves out (`calibration`), and learns how conversions follow what was predicted:

    log(conversions of a delivery) = the campaign's level + the user's level
        + r (a + b [r > 0] + c [the user's best hour] + d [the best hour of all])

r being the log of the hour's value over the mean of the user's hours. So the hours that are recommended
are measured by themselves: a smooth profile understates its peaks. All of it is a multiple of r: where values
hardly differ no chance makes a gain of them, as terms of the best hours' own did. What is left to chance is
part of the gain's variance: the coefficients, how far users and campaigns differ in them, and hours of a
campaign that do better or worse than predicted, neighbouring ones alike (`HOURS_ALIKE`).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.send_time.activity import circular_covariance
from services.optimizer.domain.send_time.counts import HOURS

TERMS: Final = 4
LEAST_CONVERSIONS: Final = 50
LEAST_CAMPAIGNS: Final = 3
"""Of fewer campaigns nobody can say whether it was the hour, or the day, that did well."""
LEAST_VALUE: Final = 1e-12
HOURS_ALIKE: Final = circular_covariance(HOURS, concentration=8.0)
"""How hours' luck in a campaign goes together (24, 24): as in users' profiles, neighbours by 0.63."""


@dataclass(frozen=True, kw_only=True)
class GainCalibration:
    """How conversions follow predicted values, learned from `conversions` conversions of deliveries.

    `coefficients` (a, b, c, d) with their `covariance`. Campaigns' and users' own log gains differ from
    the calibrated one by the factors of the variances given; an hour's log value does in a campaign, for all
    its users alike, by a variance that is known to a standard error of `hour_variance_error`.
    """

    coefficients: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    campaign_variance: float
    user_variance: float
    hour_variance: float
    hour_variance_error: float
    conversions: int

    def log_values(self, terms: FloatArray) -> FloatArray:
        """The calibrated log values (...) of `value_terms` (..., 4)."""
        return np.asarray(terms @ np.array(self.coefficients), dtype=np.float64)

    def to_document(self) -> dict[str, Any]:
        """A JSON document that `gain_from_document` reads."""
        return asdict(self)


AT_THEIR_WORD: Final = GainCalibration(
    coefficients=(1.0, 0.0, 0.0, 0.0),
    covariance=((0.0,) * TERMS,) * TERMS,
    campaign_variance=0.0,
    user_variance=0.0,
    hour_variance=0.0,
    hour_variance_error=0.0,
    conversions=0,
)
"""Values are what they say, and nothing is left to chance."""


def gain_from_document(document: Mapping[str, Any] | None) -> GainCalibration | None:
    """The calibration that was kept; None where none was, or an older one, whose terms were others."""
    if document is None or "hour_variance_error" not in document:
        return None
    return GainCalibration(
        **{
            **document,
            "coefficients": tuple(document["coefficients"]),
            "covariance": tuple(map(tuple, document["covariance"])),
        }
    )


def value_terms(values: FloatArray) -> FloatArray:
    """The terms (users, 24, 4) of users' values by hour (users, 24), above 0 on average."""
    share = values / values.mean(axis=1, keepdims=True)
    relative = np.log(np.maximum(share, LEAST_VALUE))
    hours = np.arange(values.shape[1])
    is_own_best = hours == values.argmax(axis=1)[:, np.newaxis]
    is_best_of_all = np.broadcast_to(hours == share.mean(axis=0).argmax(), values.shape)
    terms = (relative, np.maximum(relative, 0.0), relative * is_own_best, relative * is_best_of_all)
    return np.stack([np.asarray(term, dtype=np.float64) for term in terms], axis=-1)
