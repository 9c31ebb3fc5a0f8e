"""What is known of when people act and answer: of everybody, and of each set of segments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from services.optimizer.domain.send_time.activity import (
    Answers,
    Posterior,
    centred,
    circular_covariance,
    fit_population,
    posterior,
    with_level,
)
from services.optimizer.domain.send_time.counts import (
    HOURS,
    TYPES,
    WEEKDAYS,
    CycleCounts,
    FloatArray,
    History,
    IntArray,
    Sendings,
)
from services.optimizer.domain.send_time.send_response import (
    Outcomes,
    Response,
    fit_levels,
    fit_response,
)
from services.optimizer.domain.send_time.timing_gain import GainCalibration

HOUR_CONCENTRATION: Final = 8.0
"""Neighbouring hours of the circular prior correlate by 0.69, hours three apart by 0.09."""
DAY_CONCENTRATION: Final = 1.0
LEVEL_VARIANCE: Final = 0.25
LEVEL_STEPS: Final = 3
LEAST_SEGMENT_USERS: Final = 10


@dataclass(frozen=True, kw_only=True)
class CycleProfile:
    """One cycle's population: `mean` (cells), `covariance` (cells, cells), and how deliveries are answered.

    `segment_means` by segment_set_id, where sets differ. `views` is the chance of a view of a delivery,
    `conversions` of a conversion of a view; None where the data cannot tell hours apart.
    """

    mean: FloatArray
    covariance: FloatArray
    segment_means: Mapping[int, FloatArray] = field(default_factory=dict)
    views: Response | None = None
    conversions: Response | None = None

    def prior_means(self, segment_set_ids: Sequence[int | None]) -> FloatArray:
        """The mean that each user is shrunk towards (users, cells): the segments', else everybody's."""
        means = [self.segment_means.get(-1 if key is None else key, self.mean) for key in segment_set_ids]
        return np.array(means).reshape(len(means), len(self.mean))

    def posterior_of(self, counts: CycleCounts, segment_set_ids: Sequence[int | None]) -> Posterior:
        """What is known of users' activity from everything they did."""
        answers = None
        if self.views is not None:
            answers = Answers(
                deliveries=counts.deliveries,
                answered=counts.views,
                offset=self.views.offset,
                influence=self.views.influence,
            )
        means = self.prior_means(segment_set_ids)
        return posterior(counts.acts, means, self.covariance, answers, exposure=counts.exposure)


@dataclass(frozen=True, kw_only=True)
class ViewShift:
    """How view rates are to be moved: at `rates` (logits, rising) by `shifts`, which have `variances`."""

    rates: FloatArray
    shifts: FloatArray
    variances: FloatArray

    def moved(self, rates: FloatArray, deviations: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The rates, and the deviations of their logits, between and beyond the known ones as at these."""
        at = logit(rates)
        moved = expit(at + np.interp(at, self.rates, self.shifts))
        return moved, np.sqrt(deviations**2 + np.interp(at, self.rates, self.variances))


@dataclass(frozen=True, kw_only=True)
class SendTimeProfile:
    """What everybody's hours and days are, learned from `users` users.

    `type_share` (types) is each type's share of deliveries. `gain` is what hours' values are worth in
    conversions; None where too few deliveries converted to say, or it was not learned. `recurrence` (types,
    empty where it was not learned) is what users who meet many campaigns of a type add to the variance over
    them (recurrence.py). `view_shift` is what view rates at hours lack; None where it was not learned.
    """

    users: int
    hours: CycleProfile
    days: CycleProfile
    type_share: FloatArray
    gain: GainCalibration | None = None
    recurrence: tuple[float | None, ...] = ()
    view_shift: ViewShift | None = None

    @classmethod
    def unlearned(cls) -> Self:
        """Before anything is known: every hour alike, smoothing by the circular prior."""
        return cls(
            users=0,
            hours=CycleProfile(mean=np.zeros(HOURS), covariance=_prior(HOURS, HOUR_CONCENTRATION)),
            days=CycleProfile(mean=np.zeros(WEEKDAYS), covariance=_prior(WEEKDAYS, DAY_CONCENTRATION)),
            type_share=np.full(TYPES, 1.0 / TYPES),
        )


def fit_profile(
    history: History, sendings: Sendings, segment_set_ids: Sequence[int | None]
) -> SendTimeProfile:
    """Learn the profile from users' histories, what was sent to them, and their segments."""
    sent = history.hours.deliveries.sum(axis=(0, 2))
    return SendTimeProfile(
        users=len(history.user_ids),
        hours=_fit_cycle(
            history.hours, sendings, sendings.hour, segment_set_ids, _prior(HOURS, HOUR_CONCENTRATION)
        ),
        days=_fit_cycle(
            history.days, sendings, sendings.weekday, segment_set_ids, _prior(WEEKDAYS, DAY_CONCENTRATION)
        ),
        type_share=sent / sent.sum() if sent.sum() > 0 else np.full(TYPES, 1.0 / TYPES),
    )


def refit_answers(
    profile: SendTimeProfile, history: History, sendings: Sendings, segment_set_ids: Sequence[int | None]
) -> SendTimeProfile:
    """Return the profile with what hours do to answers learned anew, from other deliveries."""
    hours = profile.hours
    return replace(
        profile,
        hours=_fit_answers(hours, history.hours, sendings, sendings.hour, segment_set_ids),
    )


def offset_of(response: Response, campaign_type: int, type_share: FloatArray) -> FloatArray:
    """The logit of the rate at activity 0 (cells) for a type; 0 is any type, as they are sent."""
    if campaign_type:
        return np.asarray(response.offset[campaign_type], dtype=np.float64)
    return np.asarray(logit(type_share @ expit(response.offset)), dtype=np.float64)


def _prior(cells: int, concentration: float) -> FloatArray:
    return with_level(circular_covariance(cells, concentration=concentration), LEVEL_VARIANCE)


def _fit_cycle(
    counts: CycleCounts,
    sendings: Sendings,
    cell: IntArray,
    segment_set_ids: Sequence[int | None],
    prior: FloatArray,
) -> CycleProfile:
    """Learn a cycle; `cell` is the sendings' cell of it."""
    acts = counts.acts
    has_acts = acts.sum(axis=1) > 0
    exposure = None if counts.exposure is None else counts.exposure[has_acts]
    mean, covariance = fit_population(acts[has_acts], prior, exposure)
    activity = CycleProfile(mean=mean, covariance=covariance)
    return _fit_answers(activity, counts, sendings, cell, segment_set_ids)


def _fit_answers(
    activity_profile: CycleProfile,
    counts: CycleCounts,
    sendings: Sendings,
    cell: IntArray,
    segment_set_ids: Sequence[int | None],
) -> CycleProfile:
    """Learn what activity does to answers, users' activity being known as the profile says.

    Activity comes from acts alone, then how it shows in views, so that no view counts twice; how it shows in
    conversions of what was viewed comes from acts and views together.
    """
    acts, cells = counts.acts, counts.acts.shape[1]
    mean = activity_profile.mean
    profile = CycleProfile(mean=mean, covariance=with_level(activity_profile.covariance, LEVEL_VARIANCE))
    activity = profile.posterior_of(counts, segment_set_ids).relative_activity
    viewed = _outcomes(sendings, cell, activity, sendings.deliveries, sendings.views)
    profile = replace(profile, views=fit_response(viewed, cells))
    profile = _fit_view_levels(profile, counts, segment_set_ids)
    known = profile.posterior_of(counts, segment_set_ids)
    activity = known.relative_activity
    converted = _outcomes(sendings, cell, activity, sendings.views, sendings.conversions)
    conversions = fit_response(converted, cells)
    if conversions is not None:
        conversions = fit_levels(conversions, activity, counts.views, counts.conversions)
    has_history = acts.sum(axis=1) + counts.views.sum(axis=(1, 2)) > 0
    return replace(
        profile,
        conversions=conversions,
        segment_means=_segment_means(mean, centred(known.mean), segment_set_ids, has_history),
    )


def _fit_view_levels(
    profile: CycleProfile, counts: CycleCounts, segment_set_ids: Sequence[int | None]
) -> CycleProfile:
    """The profile with the mean and variance of how ready users are to view at all, by EM."""
    views, covariance = profile.views, profile.covariance
    if views is None:
        return profile
    for _ in range(LEVEL_STEPS):
        known = profile.posterior_of(counts, segment_set_ids)
        level, uncertainty = known.mean.mean(axis=1), known.covariance.mean(axis=(1, 2))
        mean = float(level.mean())
        views = replace(views, offset=views.offset + mean)
        variance = float(((level - mean) ** 2 + uncertainty).mean())
        profile = replace(profile, views=views, covariance=with_level(covariance, variance))
    return profile


def _outcomes(
    sendings: Sendings, cell: IntArray, activity: FloatArray, trials: FloatArray, successes: FloatArray
) -> Outcomes:
    """The sendings with any trials."""
    tried = trials > 0
    return Outcomes(
        campaign=sendings.campaign[tried],
        campaign_type=sendings.campaign_type[tried],
        cell=cell[tried],
        relative=activity[sendings.user[tried], cell[tried]],
        trials=trials[tried],
        successes=successes[tried],
    )


def _segment_means(
    mean: FloatArray,
    activity: FloatArray,
    segment_set_ids: Sequence[int | None],
    has_history: NDArray[np.bool_],
) -> dict[int, FloatArray]:
    """Means of the sets of segments, each shrunk towards everybody's by how little sets differ.

    The James-Stein weight n B / (n B + W) of n users, with the variance W within and B between sets by the
    method of moments (Efron & Morris 1975). Empty where sets do not differ.
    """
    keys = np.array([-1 if key is None else key for key in segment_set_ids])
    groups = {
        int(key): activity[has_history & (keys == key)]
        for key in np.unique(keys[keys >= 0])
        if (has_history & (keys == key)).sum() >= LEAST_SEGMENT_USERS
    }
    if not groups:
        return {}
    sizes = np.array([len(group) for group in groups.values()], dtype=np.float64)
    means = np.array([group.mean(axis=0) for group in groups.values()])
    within = float(
        sum(group.var(axis=0, ddof=1).sum() * len(group) for group in groups.values()) / sizes.sum()
    )
    between = float((((means - mean) ** 2).sum(axis=1) - within / sizes) @ sizes / sizes.sum())
    if between <= 0:
        return {}
    weights = sizes * between / (sizes * between + within)
    return {
        key: mean + weight * (of_key - mean)
        for key, weight, of_key in zip(groups, weights, means, strict=True)
    }
