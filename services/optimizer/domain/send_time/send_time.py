"""When to send to users: the best hour and day of each, how sure that is, and what to expect of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.send_time.activity import Posterior, relative_activity
from services.optimizer.domain.send_time.cell_scores import CellScores
from services.optimizer.domain.send_time.counts import HOURS, WEEKDAYS, FloatArray, History
from services.optimizer.domain.send_time.profile import (
    CycleProfile,
    SendTimeProfile,
    ViewShift,
    offset_of,
)
from services.optimizer.domain.send_time.send_response import Response, user_levels

DRAWS: Final = 300
USERS_AT_ONCE: Final = 250
WEEKDAY_NAMES: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
CONFIDENCE_METHOD: Final = "laplace_draws"
"""Share of draws from the normal approximation of what is known of the user's activity."""
_UNSEEN: Final = 3.0
"""Draws' worth of probability that the allowed cells share evenly.

What none of n draws showed may yet have a probability of 3 / n (the rule of three: Hanley and Lippman-Hand,
JAMA 1983), so that no cell is certain, and none impossible.
"""
_NORMALS: Final[FloatArray] = np.random.default_rng(20_260_101).standard_normal((DRAWS, HOURS))
"""The same draws for all, so that the same history always gets the same answer."""
_HALF_OF_SHARED: Final = np.random.default_rng(20_260_102).standard_normal((2, DRAWS // 2, HOURS))
_SHARED_NORMALS: Final[FloatArray] = np.concatenate([_HALF_OF_SHARED, -_HALF_OF_SHARED], axis=1)
"""Draws of what all users share, of views and of conversions; in pairs whose mean is 0, to move no mean."""


class Source(StrEnum):
    """Whose history answers for a user."""

    USER = "user"
    SEGMENT = "segment"
    POPULATION = "population"


@dataclass(frozen=True, kw_only=True)
class QuietHours:
    """Hours of the user's day in which nothing is sent: from `start` up to and without `end`, 0 to 23.

    May run over midnight. Equal: no hour is quiet.
    """

    start: int
    end: int

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """Which of the 24 hours may be sent in; always some."""
        length = (self.end - self.start) % HOURS
        return np.asarray((np.arange(HOURS) - self.start) % HOURS >= length, dtype=np.bool_)


@dataclass(frozen=True, kw_only=True)
class SendTime:
    """When to send to a user.

    `conversion_rate_interval` (90 %) is of the conversion rate at the best allowed hour.
    """

    user_id: str
    hours: CellScores
    days: CellScores
    quiet: QuietHours
    conversion_rate_interval: Interval | None
    source: Source
    evidence: int

    @property
    def ranked_hours(self) -> tuple[int, ...]:
        """The allowed hours, the best first."""
        return self.hours.ranked(self.quiet.allowed)

    @property
    def optimal_hour(self) -> int:
        """The best allowed hour."""
        return self.ranked_hours[0]

    @property
    def optimal_day(self) -> int:
        """The best weekday, Monday 0."""
        return self.days.ranked()[0]

    @property
    def conversion_rate(self) -> float | None:
        """Conversions per view at the best allowed hour."""
        rates = self.hours.conversion_rates
        return None if rates is None else rates[self.optimal_hour]

    @property
    def confidence(self) -> float:
        """Probability that the recommended hour is the best of those allowed."""
        return self.hours.probabilities[self.optimal_hour]


@dataclass(frozen=True, kw_only=True)
class KeptSendTime:
    """A user's send time as it was computed, in the time zone that was the user's then.

    `is_interim`: before anybody's hours were learned, by the user's own history alone. Where the user's zone
    is not known (`is_zone_known`), `time_zone` is the reporting one.
    """

    send_time: SendTime
    time_zone: str
    computed_at: datetime
    is_interim: bool = False
    is_zone_known: bool = True


@dataclass(frozen=True, kw_only=True)
class _Scores:
    """CellScores of many users (users, cells)."""

    values: FloatArray
    view_rates: FloatArray | None
    conversion_rates: FloatArray | None
    probabilities: FloatArray
    value_deviations: FloatArray
    view_deviations: FloatArray | None
    conversion_deviations: FloatArray | None

    def of(self, user: int) -> CellScores:
        """One user's."""
        return CellScores(
            values=tuple(self.values[user].tolist()),
            view_rates=_row(self.view_rates, user),
            conversion_rates=_row(self.conversion_rates, user),
            probabilities=tuple(self.probabilities[user].tolist()),
            value_deviations=_row(self.value_deviations, user),
            view_deviations=_row(self.view_deviations, user),
            conversion_deviations=_row(self.conversion_deviations, user),
        )


def _row(of_users: FloatArray | None, user: int) -> tuple[float, ...] | None:
    return None if of_users is None else tuple(of_users[user].tolist())


def recommend(
    profile: SendTimeProfile,
    history: History,
    segment_set_ids: Sequence[int | None],
    *,
    campaign_type: int,
    quiet: QuietHours,
) -> list[SendTime]:
    """Recommend for users with their histories, in their order; `campaign_type` 0 is any type."""
    found: list[SendTime] = []
    for start in range(0, len(history.user_ids), USERS_AT_ONCE):
        users = np.arange(start, min(start + USERS_AT_ONCE, len(history.user_ids)))
        segments = segment_set_ids[start : start + USERS_AT_ONCE]
        found += _recommend_some(profile, history.take(users), segments, campaign_type, quiet)
    return found


def hour_values(
    profile: SendTimeProfile, history: History, segment_set_ids: Sequence[int | None]
) -> FloatArray:
    """What users' hours are ranked by (users, 24), as `recommend` has it for any type of campaign."""
    found = np.empty((len(history.user_ids), HOURS))
    for start in range(0, len(found), USERS_AT_ONCE):
        users = np.arange(start, min(start + USERS_AT_ONCE, len(found)))
        some = history.take(users)
        known = profile.hours.posterior_of(some.hours, segment_set_ids[start : start + USERS_AT_ONCE])
        rates = _rates(profile.hours, known, profile.type_share, 0, _levels(profile.hours, some, known))
        found[users] = rates.values.mean(axis=1)
    return found


def view_rates(
    profile: SendTimeProfile, history: History, segment_set_ids: Sequence[int | None]
) -> tuple[FloatArray, FloatArray] | None:
    """Views per delivery (users, 24) that are expected of any type of campaign, before they are calibrated.

    With the deviations of their logits; None where nobody can say.
    """
    if profile.hours.views is None:
        return None
    found, deviations = np.empty((2, len(history.user_ids), HOURS))
    for start in range(0, len(found), USERS_AT_ONCE):
        users = np.arange(start, min(start + USERS_AT_ONCE, len(found)))
        some = history.take(users)
        known = profile.hours.posterior_of(some.hours, segment_set_ids[start : start + USERS_AT_ONCE])
        logits = _rates(
            profile.hours, known, profile.type_share, 0, _levels(profile.hours, some, known)
        ).view_logits
        if logits is not None:
            found[users], deviations[users] = expit(logits).mean(axis=1), logits.std(axis=1)
    return found, deviations


def _recommend_some(
    profile: SendTimeProfile,
    history: History,
    segments: Sequence[int | None],
    campaign_type: int,
    quiet: QuietHours,
) -> list[SendTime]:
    at_hours = profile.hours.posterior_of(history.hours, segments)
    on_days = profile.days.posterior_of(history.days, segments)
    levels = _levels(profile.hours, history, at_hours)
    hours = _score(_rates(profile.hours, at_hours, profile.type_share, campaign_type, levels), quiet.allowed)
    hours = _calibrated(hours, profile.view_shift)
    every_day = np.ones(WEEKDAYS, dtype=np.bool_)
    days = _score(_rates(profile.days, on_days, profile.type_share, campaign_type, levels), every_day)
    evidence = history.evidence.tolist()
    found = []
    for user, user_id in enumerate(history.user_ids):
        of_hours = hours.of(user)
        best = of_hours.ranked(quiet.allowed)[0]
        found.append(
            SendTime(
                user_id=user_id,
                hours=of_hours,
                days=days.of(user),
                quiet=quiet,
                conversion_rate_interval=of_hours.conversion_interval(best),
                source=_source(profile.hours, evidence[user], segments[user]),
                evidence=evidence[user],
            )
        )
    return found


@dataclass(frozen=True, kw_only=True)
class _Levels:
    """How much readier than others each user is to convert what they view, on the logit, and its variance."""

    level: FloatArray
    variance: FloatArray


@dataclass(frozen=True, kw_only=True)
class _Rates:
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


def _levels(profile: CycleProfile, history: History, known: Posterior) -> _Levels:
    if profile.conversions is None:
        return _Levels(level=np.zeros(len(known.mean)), variance=np.zeros(len(known.mean)))
    counts = history.hours
    level, variance = user_levels(
        profile.conversions, known.relative_activity, counts.views, counts.conversions
    )
    return _Levels(level=level, variance=variance)


def _rates(
    profile: CycleProfile, known: Posterior, type_share: FloatArray, campaign_type: int, levels: _Levels
) -> _Rates:
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
    return _Rates(
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
    root = (
        vector * np.sqrt(np.maximum(value, 0.0))
    ) @ vector.T  # the symmetric one: rounding moves it little
    return np.asarray(normals[:, :cells] @ root, dtype=np.float64)


def _score(rates: _Rates, allowed: NDArray[np.bool_]) -> _Scores:
    """Average what cells are worth over the draws, and count how often each is the best allowed.

    A user's level is not drawn. It adds its own variance to a conversion rate's logit, and to that of views v
    times conversions c the variance times ((1 - c) / (1 - v c))^2; that of a value is told from the draws'
    scatter by the delta method.
    """
    values, views, conversions = rates.values, rates.views, rates.conversions
    best = np.where(allowed, values, -np.inf).argmax(axis=2)
    mean = values.mean(axis=1)
    level_variance = rates.level_variance[:, np.newaxis]
    value_variance = values.var(axis=1) / (mean * (1.0 - mean)) ** 2
    conversion_rates = conversion_deviations = None
    if conversions is not None and rates.conversion_logits is not None:
        conversion_rates = conversions.mean(axis=1)
        conversion_deviations = np.sqrt(rates.conversion_logits.var(axis=1) + level_variance)
        value_variance += level_variance * ((1.0 - conversion_rates) / (1.0 - mean)) ** 2
    return _Scores(
        values=mean,
        view_rates=None if views is None else views.mean(axis=1),
        conversion_rates=conversion_rates,
        probabilities=_probabilities(best, allowed),
        value_deviations=np.sqrt(value_variance),
        view_deviations=None if rates.view_logits is None else rates.view_logits.std(axis=1),
        conversion_deviations=conversion_deviations,
    )


def _calibrated(scores: _Scores, shift: ViewShift | None) -> _Scores:
    """The scores with their view rates as deliveries show them that they were not told of."""
    if shift is None or scores.view_rates is None or scores.view_deviations is None:
        return scores
    rates, deviations = shift.moved(scores.view_rates, scores.view_deviations)
    return replace(scores, view_rates=rates, view_deviations=deviations)


def _probabilities(best: NDArray[np.intp], allowed: NDArray[np.bool_]) -> FloatArray:
    """Each cell's probability (users, cells) of being the best, by the best ones of draws (users, draws)."""
    times = (best[:, :, np.newaxis] == np.arange(len(allowed))).sum(axis=1)
    unseen = _UNSEEN * allowed / allowed.sum()
    return np.asarray((times + unseen) / (DRAWS + _UNSEEN), dtype=np.float64)


def _source(profile: CycleProfile, evidence: int, segment_set_id: int | None) -> Source:
    if evidence > 0:
        return Source.USER
    if segment_set_id is not None and segment_set_id in profile.segment_means:
        return Source.SEGMENT
    return Source.POPULATION
