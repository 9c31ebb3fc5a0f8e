"""When to send to users: the best hour and day of each, how sure that is, and what to expect of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.send_time.cell_scores import CellScores
from services.optimizer.domain.send_time.counts import HOURS, WEEKDAYS, FloatArray, History, IntArray
from services.optimizer.domain.send_time.drawn_rates import DRAWS, DrawnRates, draw_rates, levels_of
from services.optimizer.domain.send_time.profile import (
    CycleProfile,
    SendTimeProfile,
    ViewShift,
)

USERS_AT_ONCE: Final = 250
WEEKDAY_NAMES: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
CONFIDENCE_METHOD: Final = "laplace_draws"
"""Share of draws from the normal approximation of what is known of the user's activity."""
_UNSEEN: Final = 3.0
"""Draws' worth of probability that the allowed cells share evenly.

What none of n draws showed may yet have a probability of 3 / n (the rule of three: Hanley and Lippman-Hand,
JAMA 1983), so that no cell is certain, and none impossible.
"""


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
    for _, some, segments in _in_parts(history, segment_set_ids):
        found += _recommend_some(profile, some, segments, campaign_type, quiet)
    return found


def hour_values(
    profile: SendTimeProfile, history: History, segment_set_ids: Sequence[int | None]
) -> FloatArray:
    """What users' hours are ranked by (users, 24), as `recommend` has it for any type of campaign."""
    found = np.empty((len(history.user_ids), HOURS))
    for users, rates in _hours_of_any_type(profile, history, segment_set_ids):
        found[users] = rates.values.mean(axis=1)
    return found


def view_rates(
    profile: SendTimeProfile, history: History, segment_set_ids: Sequence[int | None]
) -> tuple[FloatArray, FloatArray] | None:
    """Views per delivery (users, 24) that are expected of any type of campaign, before they are calibrated.

    With the deviations of their logits; None where nobody can say.
    """
    found, deviations = np.empty((2, len(history.user_ids), HOURS))
    for users, rates in _hours_of_any_type(profile, history, segment_set_ids):
        if rates.view_logits is None:
            return None
        found[users], deviations[users] = expit(rates.view_logits).mean(axis=1), rates.view_logits.std(axis=1)
    return found, deviations


def _in_parts(
    history: History, segment_set_ids: Sequence[int | None]
) -> Iterator[tuple[IntArray, History, Sequence[int | None]]]:
    """Users by so many as are drawn at once: which they are, their histories and segments."""
    for start in range(0, len(history.user_ids), USERS_AT_ONCE):
        users = np.arange(start, min(start + USERS_AT_ONCE, len(history.user_ids)))
        yield users, history.take(users), segment_set_ids[start : start + USERS_AT_ONCE]


def _hours_of_any_type(
    profile: SendTimeProfile, history: History, segment_set_ids: Sequence[int | None]
) -> Iterator[tuple[IntArray, DrawnRates]]:
    """Users, part by part, and what deliveries of any type of campaign may bring in their hours."""
    for users, some, segments in _in_parts(history, segment_set_ids):
        known = profile.hours.posterior_of(some.hours, segments)
        levels = levels_of(profile.hours, some, known)
        yield users, draw_rates(profile.hours, known, profile.type_share, 0, levels)


def _recommend_some(
    profile: SendTimeProfile,
    history: History,
    segments: Sequence[int | None],
    campaign_type: int,
    quiet: QuietHours,
) -> list[SendTime]:
    at_hours = profile.hours.posterior_of(history.hours, segments)
    on_days = profile.days.posterior_of(history.days, segments)
    levels = levels_of(profile.hours, history, at_hours)
    at = draw_rates(profile.hours, at_hours, profile.type_share, campaign_type, levels)
    hours = _calibrated(_score(at, quiet.allowed), profile.view_shift)
    every_day = np.ones(WEEKDAYS, dtype=np.bool_)
    on = draw_rates(profile.days, on_days, profile.type_share, campaign_type, levels)
    days = _score(on, every_day)
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


def _score(rates: DrawnRates, allowed: NDArray[np.bool_]) -> _Scores:
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
