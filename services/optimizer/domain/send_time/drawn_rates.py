"""Draws of what deliveries in each hour, or on each weekday, may bring of users known so well."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from scipy.special import expit

from services.optimizer.domain.send_time.activity import Posterior, relative_activity
from services.optimizer.domain.send_time.counts import HOURS, FloatArray, History
from services.optimizer.domain.send_time.profile import CycleProfile, offset_of
from services.optimizer.domain.send_time.send_response import Response, user_levels

DRAWS: Final = 300
_NORMALS: Final[FloatArray] = np.random.default_rng(20_260_101).standard_normal((DRAWS, HOURS))
"""The same draws for all, so that the same history always gets the same answer."""
_HALF_OF_SHARED: Final = np.random.default_rng(20_260_102).standard_normal((2, DRAWS // 2, HOURS))
_SHARED_NORMALS: Final[FloatArray] = np.concatenate([_HALF_OF_SHARED, -_HALF_OF_SHARED], axis=1)
"""Draws of what all users share, of views and of conversions; in pairs whose mean is 0, to move no mean."""


@dataclass(frozen=True, kw_only=True)
class Levels:
    """How much readier than others each user is to convert what they view, on the logit, and its variance."""

    level: FloatArray
    variance: FloatArray


@dataclass(frozen=True, kw_only=True)
class DrawnRates:
    """Draws (users, draws, cells) of users' activity and of what it makes of deliveries."""

    relative: FloatArray
    view_logits: FloatArray | None
    conversion_logits: FloatArray | None
    level_variance: FloatArray

    @cached_property
    def views(self) -> FloatArray | None:
        """Views per delivery, drawn."""
        return None if self.view_logits is None else expit(self.view_logits)

    @cached_property
    def conversions(self) -> FloatArray | None:
        """Conversions per view, drawn."""
        return None if self.conversion_logits is None else expit(self.conversion_logits)

    @cached_property
    def values(self) -> FloatArray:
        """What cells are ranked by, as CellScores has it, drawn."""
        if self.views is None:
            return np.asarray(self.relative / self.relative.shape[-1], dtype=np.float64)
        conversions = self.conversions
        return self.views if conversions is None else self.views * conversions


def levels_of(profile: CycleProfile, history: History, known: Posterior) -> Levels:
    """Users' levels by what they viewed and converted; 0 where conversions were not learned."""
    if profile.conversions is None:
        return Levels(level=np.zeros(len(known.mean)), variance=np.zeros(len(known.mean)))
    counts = history.hours
    level, variance = user_levels(
        profile.conversions, known.relative_activity, counts.views, counts.conversions
    )
    return Levels(level=level, variance=variance)


def draw_rates(
    profile: CycleProfile, known: Posterior, type_share: FloatArray, campaign_type: int, levels: Levels
) -> DrawnRates:
    """Draw users' activity, and compute the rates that the responses give to it."""
    root = np.linalg.cholesky(known.covariance)
    users, cells = known.mean.shape
    apart = (root.reshape(users * cells, cells) @ _NORMALS[:, :cells].T).reshape(users, cells, DRAWS)
    drawn = known.mean[:, np.newaxis] + apart.transpose(0, 2, 1)
    relative = relative_activity(drawn)
    view_logits = conversion_logits = None
    if profile.views is not None:
        offset = offset_of(profile.views, campaign_type, type_share)
        own = profile.views.influence.logit_of(relative) + drawn.mean(axis=2, keepdims=True)
        view_logits = offset + own + _shared_error(profile.views, campaign_type, _SHARED_NORMALS[0])
    if profile.conversions is not None:
        offset = offset_of(profile.conversions, campaign_type, type_share)
        own = profile.conversions.influence.logit_of(relative) + levels.level[:, np.newaxis, np.newaxis]
        error = _shared_error(profile.conversions, campaign_type, _SHARED_NORMALS[1])
        conversion_logits = offset + own + error
    return DrawnRates(
        relative=relative,
        view_logits=view_logits,
        conversion_logits=conversion_logits,
        level_variance=levels.variance,
    )


def _shared_error(response: Response, campaign_type: int, normals: FloatArray) -> FloatArray:
    """Draws (draws, cells) of how far a fitted response is off: the same for every user, as its error is."""
    cells = response.offset.shape[1]
    if response.uncertainty is None:
        return np.zeros((len(normals), cells))
    value, vector = np.linalg.eigh(response.uncertainty[campaign_type])
    # the symmetric root: rounding moves it little
    root = (vector * np.sqrt(np.maximum(value, 0.0))) @ vector.T
    return np.asarray(normals[:, :cells] @ root, dtype=np.float64)
