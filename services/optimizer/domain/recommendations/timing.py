"""When to send a campaign: the hours of the users it reaches against the hours it is sent at today.

For each user the job of send times keeps what a delivery brings by local hour, as a posterior mean: shrunk to
segment and population, so that its maximum is not a lucky hour's. What such values are worth in conversions
is learned from deliveries they were not fitted to (`timing_gain`), and the gain is the calibrated one: the
log of the ratio of expected conversions, at the hours chosen and at those sent at, has by the delta method
the variance of the calibration, and of what campaigns, users and hours differ from it by; the last is known
by itself to a few degrees of freedom only, so that Student's distribution takes the normal one's place
(Satterthwaite, Biometrics Bulletin 2, 1946). A gain counts from `SMALLEST_GAIN` on. One that is sure enough
to be recommended is told as what is left of it given that (`winners`): among small gains those that luck
made look large are most of what passes. It is of the users lately reached, and causal only as far as
campaigns' deliveries fell on hours for no reason that also moves conversions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
from scipy.special import stdtr, stdtrit

from services.optimizer.domain.features import BoolArray, FloatArray
from services.optimizer.domain.offers.answer import INTERVAL_LEVEL, Interval
from services.optimizer.domain.recommendations.recommendations import MINIMUM_CONFIDENCE
from services.optimizer.domain.recommendations.winners import given_selection
from services.optimizer.domain.segments.segments import claimable
from services.optimizer.domain.send_time.counts import IntArray
from services.optimizer.domain.send_time.timing_gain import (
    AT_THEIR_WORD,
    HOURS_ALIKE,
    GainCalibration,
    value_terms,
)

HOURS: Final = 24
REACHED_DAYS: Final = 28
"""Whole days before today whose deliveries say whom a campaign reaches, and when."""
MINIMUM_USERS: Final = 30
OWN_HOUR_MARGIN: Final = 0.05
"""What each user's own hour must gain beyond one hour for all, to be worth the trouble."""
SMALLEST_GAIN: Final = 0.1
"""What another hour must gain, to be worth the trouble and above what a fitted profile tells of nothing."""
TIMING_METHOD: Final = "calibrated_log_gain_student"
LEAST_DEGREES: Final = 3.0
MOST_DEGREES: Final = 1e6
_TAIL: Final = (1.0 - INTERVAL_LEVEL) / 2.0


@dataclass(frozen=True, kw_only=True)
class ReachedUsers:
    """The users a campaign lately reached.

    `hour_values` (n, 24) by the user's local hour; `sent` (n, 24) are the campaign's deliveries in it;
    `is_quiet` (24) are hours at which nobody is sent anything.
    """

    hour_values: FloatArray
    sent: FloatArray
    is_quiet: BoolArray

    @property
    def known(self) -> BoolArray:
        """The users (n) who have values."""
        return np.asarray((self.hour_values.sum(axis=1) > 0.0) & (self.sent.sum(axis=1) > 0.0))


@dataclass(frozen=True, kw_only=True)
class TimingChoice:
    """The hour to send at (None: each user's own best one), and the relative gain in what a delivery brings.

    `best_single_hour` is the best one for all; `own_hour_effect` is what each user's own hour gains.
    `interval` is the 90 % one of `effect`, `confidence` the probability that it is `SMALLEST_GAIN` or more:
    among gains that look large enough those that luck made are most of the small ones. Where it is sure
    enough to be recommended, `effect` and `interval` are those given that it is, of the `measured_effect`,
    and `effect` is no less than `SMALLEST_GAIN`, which it passed. `most_effect` is the highest upper end of
    the 90 % intervals of what any hour for all, or each user's own, gains, that of `most_hour` (None: each
    user's own): one close to today's is better known than the others, and says nothing of them. They rest on
    so many `conversions`.
    """

    hour: int | None
    best_single_hour: int
    effect: float
    measured_effect: float
    interval: Interval
    confidence: float
    most_effect: float
    most_hour: int | None
    own_hour_effect: float
    users: int
    conversions: int


def reached_users(rows: Sequence[tuple[Sequence[float], int, int, Sequence[int]]]) -> ReachedUsers:
    """Return users (at least one) given as values by hour, first and end of quiet hours, and hours sent at.

    An hour that is quiet for any of them is quiet; quiet hours may run over midnight, and are none where they
    begin and end alike.
    """
    values, starts, ends, sent_at = zip(*rows, strict=True)
    hours, is_quiet = np.arange(HOURS), np.zeros(HOURS, dtype=np.bool_)
    for start, end in set(zip(starts, ends, strict=True)):
        is_quiet |= (hours - start) % HOURS < (end - start) % HOURS
    return ReachedUsers(
        hour_values=np.array(values, dtype=np.float64),
        sent=np.array([np.bincount(at, minlength=HOURS) for at in sent_at], dtype=np.float64),
        is_quiet=is_quiet,
    )


def choose_timing(reached: ReachedUsers, calibration: GainCalibration) -> TimingChoice | None:
    """Return the better of one hour for all and each user's own; None with too few users.

    What to do is chosen by values as they are, as `OptimizeSendTime` does, so that no error of the
    calibration chooses what it then praises.
    """
    known = reached.known
    if int(known.sum()) < MINIMUM_USERS or bool(reached.is_quiet.all()):
        return None
    values, sent = reached.hour_values[known], reached.sent[known]
    allowed = np.where(reached.is_quiet, -1.0, values)
    own_hours = allowed.argmax(axis=1)
    hour = int((sent.sum(axis=1) @ allowed).argmax())
    everyone = np.full_like(own_hours, hour)
    promised = _Prospects.of(values, sent, AT_THEIR_WORD)
    takes_own = promised.gain(own_hours).effect > promised.gain(everyone).effect + OWN_HOUR_MARGIN
    prospects = _Prospects.of(values, sent, calibration)
    own, single = prospects.gain(own_hours), prospects.gain(everyone)
    gain = own if takes_own else single
    ends: dict[int | None, float] = {
        int(other): prospects.gain(np.full_like(own_hours, other)).interval.upper
        for other in np.flatnonzero(~reached.is_quiet)
    }
    ends[None] = own.interval.upper
    most_hour = max(ends, key=lambda other: ends[other])
    return TimingChoice(
        hour=None if takes_own else hour,
        best_single_hour=hour,
        effect=gain.effect,
        measured_effect=math.expm1(gain.log_ratio),
        interval=gain.interval,
        confidence=gain.confidence,
        most_effect=ends[most_hour],
        most_hour=most_hour,
        own_hour_effect=math.expm1(own.log_ratio - gain.luck),
        users=len(own_hours),
        conversions=calibration.conversions,
    )


@dataclass(frozen=True, kw_only=True)
class _Gain:
    """The log of expected conversions over those of today, and its standard error.

    `calibration_error` is the part that the estimate itself varies by; the rest is how far the truth of this
    campaign lies from what is estimated.
    """

    log_ratio: float
    calibration_error: float
    error: float
    degrees: float

    @property
    def bar(self) -> float:
        """The log gain from which on this one is recommended."""
        return math.log1p(SMALLEST_GAIN) + float(stdtrit(self.degrees, MINIMUM_CONFIDENCE)) * self.error

    @property
    def luck(self) -> float:
        """What of the log gain is owed to its being recommended."""
        return self.log_ratio - self._given_selection(0.5)

    @property
    def effect(self) -> float:
        told = math.expm1(self.log_ratio - self.luck)
        return max(told, SMALLEST_GAIN) if self.log_ratio >= self.bar else told

    @property
    def interval(self) -> Interval:
        """The interval: the calibration's and the truth's ends by their squares (Zou & Donner 2008)."""
        middle = self.log_ratio - self.luck
        quantile = -float(stdtrit(self.degrees, _TAIL))
        if self.log_ratio < self.bar:
            below = quantile * self.error
        else:
            beyond = self.error**2 - self.calibration_error**2
            below = math.sqrt((middle - self._given_selection(_TAIL)) ** 2 + quantile**2 * max(beyond, 0.0))
        upper = self.log_ratio + quantile * self.error
        return Interval(lower=math.expm1(middle - below), upper=math.expm1(upper))

    @property
    def confidence(self) -> float:
        beyond = self.log_ratio - math.log1p(SMALLEST_GAIN)
        if self.error <= 0.0:
            return claimable(float(beyond > 0.0))
        return claimable(float(stdtr(self.degrees, beyond / self.error)))

    def _given_selection(self, probability: float) -> float:
        if self.log_ratio < self.bar:
            return self.log_ratio
        return given_selection(self.log_ratio, self.calibration_error, self.bar, probability)


@dataclass(frozen=True, kw_only=True)
class _Prospects:
    """What each user's deliveries are worth by hour: `worth` (n, 24) if all of them were sent in it.

    `today` (n, 24) is each hour's part in what they bring as they are sent, 1 in all, of `total`.
    """

    terms: FloatArray
    logs: FloatArray
    worth: FloatArray
    today: FloatArray
    total: float
    calibration: GainCalibration

    @classmethod
    def of(cls, values: FloatArray, sent: FloatArray, calibration: GainCalibration) -> Self:
        terms = value_terms(values)
        logs = calibration.log_values(terms)
        level = values.mean(axis=1, keepdims=True) * np.exp(logs)
        today = sent * level
        total = float(today.sum())
        return cls(
            terms=terms,
            logs=logs,
            worth=np.asarray(sent.sum(axis=1, keepdims=True) * level),
            today=np.asarray(today / total),
            total=total,
            calibration=calibration,
        )

    def gain(self, hours: IntArray) -> _Gain:
        """The gain of sending to each user at the user's hour (n), by the delta method."""
        at = (np.arange(len(hours)), hours)
        then = float(self.worth[at].sum())
        part = self.worth[at] / then
        of_terms = part @ self.terms[at] - self._terms_today
        of_users = part * (self.logs[at] - self._logs_today)
        of_hours = np.bincount(hours, part, HOURS) - self.today.sum(axis=0)
        calibration, alike = self.calibration, float(of_hours @ HOURS_ALIKE @ of_hours)
        of_calibration = float(of_terms @ np.array(calibration.covariance) @ of_terms)
        variance = (
            of_calibration
            + calibration.campaign_variance * float(of_users.sum()) ** 2
            + calibration.user_variance * float(of_users @ of_users)
            + calibration.hour_variance * alike
        )
        return _Gain(
            log_ratio=math.log(then / self.total),
            calibration_error=math.sqrt(of_calibration),
            error=math.sqrt(variance),
            degrees=_degrees(variance, calibration.hour_variance_error * alike),
        )

    @cached_property
    def _terms_today(self) -> FloatArray:
        return np.asarray(np.einsum("uh,uht->t", self.today, self.terms))

    @cached_property
    def _logs_today(self) -> FloatArray:
        """Each user's mean log value (n) over what the deliveries bring as they are sent."""
        return np.asarray((self.today * self.logs).sum(axis=1) / self.today.sum(axis=1))


def _degrees(variance: float, error: float) -> float:
    """Satterthwaite's degrees of freedom of a variance with such a standard error, three at least."""
    if error <= 0.0:
        return MOST_DEGREES
    return min(max(2.0 * (variance / error) ** 2, LEAST_DEGREES), MOST_DEGREES)
