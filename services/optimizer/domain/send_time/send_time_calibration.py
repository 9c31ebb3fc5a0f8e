"""Learns from deliveries of campaigns left out how conversions follow users' values by hour."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.optimizer.domain.send_time.send_time import hour_values
from services.optimizer.domain.send_time.send_time_counts import (
    HOURS,
    CycleCounts,
    FloatArray,
    History,
    IntArray,
    Sendings,
)
from services.optimizer.domain.send_time.send_time_profile import SendTimeProfile, refit_answers
from services.optimizer.domain.send_time.timing_gain import (
    LEAST_CONVERSIONS,
    TERMS,
    GainCalibration,
    value_terms,
)

FOLDS: Final = 3
PRIOR_CENTRE: Final = (1.0, 0.0, 0.0, 0.0)
"""Values as they are predicted."""
PRIOR_DEVIATION: Final = (0.5, 0.5, 0.25, 0.4)
USUAL_CAMPAIGN_VARIANCE: Final = 0.1**2
"""How far campaigns' log gains differ, as a factor, before their conversions say: a judgement. Where many
convert anyway, an hour cannot add much; in the simulated world they differ by 0.08."""
LEAST_HOUR_VARIANCE: Final = 0.05**2
"""How far hours do better or worse for all than predicted, at least: a judgement. The hour that is
recommended stands out, so that what the others leave over says little of it."""
MOST_VARIANCE: Final = 1.0
_STEPS: Final = 20
_TOLERANCE: Final = 1e-6


@dataclass(frozen=True, kw_only=True)
class _Predicted:
    """Deliveries (rows) of users, campaigns and hours, numbered; `expected` at the user's mean hour."""

    user: IntArray
    campaign: IntArray
    hour: IntArray
    terms: FloatArray
    expected: FloatArray
    conversions: FloatArray


def calibrate_gains(
    profile: SendTimeProfile, history: History, sendings: Sendings, segment_set_ids: Sequence[int | None]
) -> GainCalibration | None:
    """Learn the calibration; None where fewer than 50 deliveries converted.

    Campaigns are left out a third at a time, with what users answered to them; where there are fewer than
    three, parts of their users.
    """
    if sendings.conversions.sum() < LEAST_CONVERSIONS:
        return None
    campaigns = len(np.unique(sendings.campaign))
    fold = (sendings.campaign + (sendings.user if campaigns < FOLDS else 0)) % FOLDS
    parts = [
        _predict(profile, history, sendings, segment_set_ids, fold == part)
        for part in range(FOLDS)
        if (fold == part).any()
    ]
    return _calibrate(
        _Predicted(
            **{
                each.name: np.concatenate([getattr(part, each.name) for part in parts])
                for each in fields(_Predicted)
            }
        )
    )


def _predict(
    profile: SendTimeProfile,
    history: History,
    sendings: Sendings,
    segment_set_ids: Sequence[int | None],
    left_out: NDArray[np.bool_],
) -> _Predicted:
    """Predict the deliveries left out from everything else."""
    out, kept = _take(sendings, left_out), _take(sendings, ~left_out)
    known = replace(history, hours=_without(history, out))
    values = hour_values(refit_answers(profile, known, kept, segment_set_ids), known, segment_set_ids)
    return _Predicted(
        user=out.user,
        campaign=out.campaign,
        hour=out.hour,
        terms=value_terms(values)[out.user, out.hour],
        expected=out.deliveries * values.mean(axis=1)[out.user],
        conversions=out.conversions,
    )


def _take(sendings: Sendings, rows: NDArray[np.bool_]) -> Sendings:
    return Sendings(**{each.name: getattr(sendings, each.name)[rows] for each in fields(Sendings)})


def _without(history: History, out: Sendings) -> CycleCounts:
    """What users did by the hour, less some deliveries and their answers."""
    hours = history.hours
    left = []
    for whole, parts in (
        (hours.deliveries, out.deliveries),
        (hours.views, out.views),
        (hours.conversions, out.conversions),
    ):
        rest = whole.copy()
        np.subtract.at(rest, (out.user, out.campaign_type, out.hour), parts)
        left.append(np.maximum(rest, 0.0))
    deliveries, views, conversions = left
    return replace(hours, deliveries=deliveries, views=views, conversions=conversions)


def _calibrate(rows: _Predicted) -> GainCalibration:
    """Poisson regression with campaigns' levels profiled out, and normal priors around values as predicted.

    The coefficients' covariance is clustered by user (Liang & Zeger 1986). How far campaigns and users differ
    in their log gains, and hours in their levels, is found by moments: residuals of different users of one
    campaign (campaigns of one user, users at one hour) go together by no other cause.
    """
    precision = np.diag(1.0 / np.square(PRIOR_DEVIATION))
    centre = np.array(PRIOR_CENTRE)
    theta = centre.copy()
    for _ in range(_STEPS):
        means, terms = _fitted(rows, theta)
        gradient = (rows.conversions - means) @ terms - precision @ (theta - centre)
        bread = np.linalg.inv((terms * means[:, np.newaxis]).T @ terms + precision)
        step = bread @ gradient
        theta = theta + step * min(1.0, 1.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < _TOLERANCE:
            break
    means, terms = _fitted(rows, theta)
    errors = rows.conversions - means
    scores = np.stack([np.bincount(rows.user, errors * terms[:, term]) for term in range(TERMS)], axis=1)
    users = len(np.unique(rows.user))
    covariance = bread @ (scores.T @ scores * users / max(users - 1, 1) + precision) @ bread
    gain = terms @ theta
    pair = rows.user * (int(rows.campaign.max()) + 1) + rows.campaign
    at_hour = rows.user * HOURS + rows.hour
    campaign = _Spread(cluster=rows.campaign, element=pair, slope=gain, usual=USUAL_CAMPAIGN_VARIANCE)
    user = _Spread(cluster=rows.user, element=pair, slope=gain)
    hour = _Spread(cluster=rows.hour, element=at_hour, slope=np.ones_like(gain))
    return GainCalibration(
        coefficients=tuple(theta.tolist()),
        covariance=tuple(map(tuple, covariance.tolist())),
        campaign_variance=campaign.variance(errors, means),
        user_variance=user.variance(errors, means),
        hour_variance=max(hour.variance(errors, means), LEAST_HOUR_VARIANCE),
        conversions=int(rows.conversions.sum()),
    )


def _fitted(rows: _Predicted, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Expected conversions (rows), as many of each campaign as it had, and terms less the campaign's mean."""
    weights = rows.expected * np.exp(rows.terms @ theta)
    total = np.maximum(np.bincount(rows.campaign, weights), 1e-300)
    had = np.bincount(rows.campaign, rows.conversions)
    means = weights * (had / total)[rows.campaign]
    centres = np.stack(
        [np.bincount(rows.campaign, weights * rows.terms[:, term]) / total for term in range(TERMS)], axis=1
    )
    return means, rows.terms - centres[rows.campaign]


@dataclass(frozen=True, kw_only=True)
class _Spread:
    """By how much the slopes of clusters of rows differ, `element` being what is independent within one.

    `usual` is the variance as it is known before any conversion.
    """

    cluster: IntArray
    element: IntArray
    slope: FloatArray
    usual: float = 0.0

    def variance(self, errors: FloatArray, means: FloatArray) -> float:
        """The variance by the method of moments: what errors of a cluster's elements have in common."""
        scores = errors * self.slope
        elements, place = np.unique(
            np.stack([self.cluster, self.element], axis=1), axis=0, return_inverse=True
        )
        place, cluster = place.ravel(), elements[:, 0]
        squares = np.bincount(place, scores) ** 2
        within = np.bincount(place, means * self.slope**2)
        information = np.bincount(cluster, within)
        scale = float(information @ information - within @ within)
        if scale <= 0.0:
            return self.usual
        of_clusters = np.bincount(self.cluster, scores)
        found = float(of_clusters @ of_clusters - squares.sum()) / scale
        sums = np.bincount(cluster, squares)
        error_squared = 2.0 * float(sums @ sums - squares @ squares) / scale**2
        if self.usual > 0.0:  # as a normal prior with a deviation of the usual variance says
            found = (found * self.usual**2 + self.usual * error_squared) / (self.usual**2 + error_squared)
        return min(max(found, 0.0), MOST_VARIANCE)
