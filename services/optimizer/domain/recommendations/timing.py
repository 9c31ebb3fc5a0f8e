"""When to send a campaign: the hours of the users it reaches against the hours it is sent at today.

For each user the job of send times keeps what a delivery brings by local hour, as a posterior mean: shrunk to
segment and population, so that its maximum is not a lucky hour's. What such values are worth in conversions
is learned from deliveries they were not fitted to (`timing_gain`), and the gain is the calibrated one: the
log of the ratio of expected conversions, at the hours chosen and at those sent at, is normal by the delta
method, with the variance of the calibration, and of what campaigns, users and hours differ from it by. A gain
counts from `SMALLEST_GAIN` on. It is of the users lately reached, and causal only as far as campaigns'
deliveries fell on hours for no reason that also moves conversions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from scipy.special import ndtr

from services.optimizer.domain.features import BoolArray, FloatArray
from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.segments.segments import QUANTILE, claimable
from services.optimizer.domain.send_time.counts import IntArray
from services.optimizer.domain.send_time.timing_gain import AT_THEIR_WORD, GainCalibration, value_terms

HOURS: Final = 24
REACHED_DAYS: Final = 28
"""Whole days before today whose deliveries say whom a campaign reaches, and when."""
MINIMUM_USERS: Final = 30
OWN_HOUR_MARGIN: Final = 0.05
"""What each user's own hour must gain beyond one hour for all, to be worth the trouble."""
SMALLEST_GAIN: Final = 0.1
"""What another hour must gain, to be worth the trouble and above what a fitted profile tells of nothing."""
TIMING_METHOD: Final = "calibrated_log_gain_normal"


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
    among gains that look large enough those that luck made are most of the small ones. They rest on so many
    `conversions`.
    """

    hour: int | None
    best_single_hour: int
    effect: float
    interval: Interval
    confidence: float
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
    return TimingChoice(
        hour=None if takes_own else hour,
        best_single_hour=hour,
        effect=gain.effect,
        interval=gain.interval,
        confidence=gain.confidence,
        own_hour_effect=own.effect,
        users=len(own_hours),
        conversions=calibration.conversions,
    )


@dataclass(frozen=True, kw_only=True)
class _Gain:
    """The log of expected conversions over those of today, and its standard error."""

    log_ratio: float
    error: float

    @property
    def effect(self) -> float:
        return math.expm1(self.log_ratio)

    @property
    def interval(self) -> Interval:
        half = QUANTILE * self.error
        return Interval(lower=math.expm1(self.log_ratio - half), upper=math.expm1(self.log_ratio + half))

    @property
    def confidence(self) -> float:
        beyond = self.log_ratio - math.log1p(SMALLEST_GAIN)
        if self.error <= 0.0:
            return claimable(float(beyond > 0.0))
        return claimable(float(ndtr(beyond / self.error)))


@dataclass(frozen=True, kw_only=True)
class _Prospects:
    """What each user's deliveries are worth by hour: `worth` (n, 24) if all of them were sent in it.

    `share` (n, 24) of them were.
    """

    terms: FloatArray
    worth: FloatArray
    share: FloatArray
    calibration: GainCalibration

    @classmethod
    def of(cls, values: FloatArray, sent: FloatArray, calibration: GainCalibration) -> Self:
        terms = value_terms(values)
        deliveries = sent.sum(axis=1, keepdims=True)
        level = values.mean(axis=1, keepdims=True)
        return cls(
            terms=terms,
            worth=np.asarray(deliveries * level * np.exp(calibration.log_values(terms))),
            share=sent / deliveries,
            calibration=calibration,
        )

    def gain(self, hours: IntArray) -> _Gain:
        """The gain of sending to each user at the user's hour (n), by the delta method."""
        chosen = np.zeros_like(self.share)
        chosen[np.arange(len(hours)), hours] = 1.0
        then, today = self.worth * chosen, self.worth * self.share
        shift = then / then.sum() - today / today.sum()
        of_terms = np.einsum("uh,uht->t", shift, self.terms)
        logs = self.calibration.log_values(self.terms)
        usual = (today * logs).sum(axis=1) / today.sum(axis=1)
        of_users = (shift * (logs - usual[:, np.newaxis])).sum(axis=1)
        of_hours = shift.sum(axis=0)
        variance = (
            float(of_terms @ np.array(self.calibration.covariance) @ of_terms)
            + self.calibration.campaign_variance * float(of_users.sum()) ** 2
            + self.calibration.user_variance * float(of_users @ of_users)
            + self.calibration.hour_variance * float(of_hours @ of_hours)
        )
        return _Gain(log_ratio=math.log(then.sum() / today.sum()), error=math.sqrt(variance))
