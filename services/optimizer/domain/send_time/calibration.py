"""Learns from deliveries of campaigns left out how conversions follow users' values by hour."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.optimizer.domain.send_time.counts import (
    HOURS,
    CycleCounts,
    FloatArray,
    History,
    IntArray,
    Sendings,
)
from services.optimizer.domain.send_time.hour_luck import HourLuck, estimate_hour_luck
from services.optimizer.domain.send_time.profile import SendTimeProfile, refit_answers
from services.optimizer.domain.send_time.send_time import hour_values
from services.optimizer.domain.send_time.timing_gain import (
    HOURS_ALIKE,
    LEAST_CAMPAIGNS,
    LEAST_CONVERSIONS,
    TERMS,
    GainCalibration,
    value_terms,
)

FOLDS: Final = 3
PRIOR_CENTRE: Final = (0.6, 0.0, 0.0, 0.0)
"""Less than is predicted: where hours make no difference, predictions still differ, and mean nothing."""
PRIOR_DEVIATION: Final = (0.5, 0.4, 0.3, 0.3)
CAMPAIGN_VARIANCE: Final = 0.1**2
"""How far campaigns' log gains differ, as a factor: a constant, since a few campaigns cannot say it. In the
simulated world they differ by 0.08 to 0.12."""
MOST_VARIANCE: Final = 1.0
_STEPS: Final = 20
_TOLERANCE: Final = 1e-6
_RIDGE: Final = 1e-9


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
    """Learn the calibration; None where fewer than 50 deliveries, or of fewer than 3 campaigns, converted.

    Campaigns are left out a third at a time, with what users answered to them.
    """
    converted = np.unique(sendings.campaign[sendings.conversions > 0.0])
    if sendings.conversions.sum() < LEAST_CONVERSIONS or len(converted) < LEAST_CAMPAIGNS:
        return None
    fold = sendings.campaign % FOLDS
    parts = [_predict(profile, history, sendings, segment_set_ids, fold == part) for part in range(FOLDS)]
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
    """Poisson regression with campaigns' levels profiled out, and a normal prior.

    Deliveries of a user, and of a campaign on one day, share their luck, so that the likelihood counts for no
    more than what its scores truly vary by: it is fitted once for their variance, and once more weighted by
    it (the curvature adjustment of Ribatet, Cooley & Davison 2012). How far users differ in their log
    gains is found by moments: residuals of campaigns of one user go together by no other cause.
    """
    precision = np.diag(1.0 / np.square(PRIOR_DEVIATION))
    first = _solve(rows, np.array(PRIOR_CENTRE), np.eye(TERMS), precision)
    weight = _weight(rows, first, precision)
    theta = _solve(rows, first, weight, precision)
    means, terms = _fitted(rows, theta)
    covariance = np.linalg.inv(weight @ _information(means, terms) + precision)
    errors, gain = rows.conversions - means, terms @ theta
    pair = rows.user * (int(rows.campaign.max()) + 1) + rows.campaign
    luck = _hour_luck(rows, means)
    user = _Spread(cluster=rows.user, element=pair, slope=gain)
    return GainCalibration(
        coefficients=tuple(theta.tolist()),
        covariance=tuple(map(tuple, ((covariance + covariance.T) / 2.0).tolist())),
        campaign_variance=CAMPAIGN_VARIANCE,
        user_variance=user.variance(errors, means),
        hour_variance=luck.variance,
        hour_variance_error=luck.error,
        conversions=int(rows.conversions.sum()),
    )


def _solve(rows: _Predicted, start: FloatArray, weight: FloatArray, precision: FloatArray) -> FloatArray:
    """The coefficients at which weighted scores and prior balance, by Newton's steps of at most 1."""
    theta = start
    for _ in range(_STEPS):
        means, terms = _fitted(rows, theta)
        pull = weight @ ((rows.conversions - means) @ terms) - precision @ (theta - np.array(PRIOR_CENTRE))
        step = np.linalg.solve(weight @ _information(means, terms) + precision, pull)
        theta = theta + step * min(1.0, 1.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < _TOLERANCE:
            break
    return theta


def _information(means: FloatArray, terms: FloatArray) -> FloatArray:
    return np.asarray((terms * means[:, np.newaxis]).T @ terms)


def _weight(rows: _Predicted, theta: FloatArray, precision: FloatArray) -> FloatArray:
    """The information over the variance of scores, (4, 4).

    The variance is the one over users (Liang & Zeger 1986), with what hours of a campaign have in common
    added, and nowhere less than the jackknife's over campaigns (CR3, Cameron & Miller 2015, section VI.B): a
    campaign holds its days, so that a day whose deliveries all did well at one hour is no evidence of it.
    """
    means, terms = _fitted(rows, theta)
    scores = terms * (rows.conversions - means)[:, np.newaxis]
    information = _information(means, terms)
    of_users = _sum_by(rows.user, scores)
    users = len(np.unique(rows.user))
    of_hours = _by_hour(rows, terms * means[:, np.newaxis])
    variance = of_users.T @ of_users * users / max(users - 1, 1)
    alike = np.einsum("chs,hg,cgt->st", of_hours, HOURS_ALIKE, of_hours)
    variance += _hour_luck(rows, means).variance * alike
    squares = (terms[:, :, np.newaxis] * terms[:, np.newaxis, :]) * means[:, np.newaxis, np.newaxis]
    within = _sum_by(rows.campaign, squares.reshape(-1, TERMS * TERMS)).reshape(-1, TERMS, TERMS)
    whole = information + precision
    left_out = np.linalg.solve(whole - within, _sum_by(rows.campaign, scores)[:, :, np.newaxis])[:, :, 0]
    moved = left_out @ whole
    campaigns = len(np.unique(rows.campaign))
    over_campaigns = moved.T @ moved * (campaigns - 1) / campaigns
    sizes, axes = np.linalg.eigh(over_campaigns - variance)
    variance += (axes * np.maximum(sizes, 0.0)) @ axes.T
    ridge = _RIDGE * max(float(np.trace(variance)), _RIDGE) * np.eye(TERMS)
    return np.asarray(information @ np.linalg.inv(variance + ridge))


def _hour_luck(rows: _Predicted, means: FloatArray) -> HourLuck:
    conversions, expected = np.moveaxis(_by_hour(rows, np.stack([rows.conversions, means], axis=1)), 2, 0)
    return estimate_hour_luck(conversions, expected)


def _by_hour(rows: _Predicted, columns: FloatArray) -> FloatArray:
    """Sums (campaigns, 24, columns) of columns over the rows of each hour of a campaign."""
    count = (int(rows.campaign.max()) + 1) * HOURS
    cell = rows.campaign * HOURS + rows.hour
    sums = [np.bincount(cell, column, count) for column in columns.T]
    return np.stack(sums, axis=1).reshape(-1, HOURS, len(sums)).astype(np.float64)


def _sum_by(cluster: IntArray, columns: FloatArray) -> FloatArray:
    """Sums (clusters, columns) of columns over the rows of each cluster."""
    return np.stack([np.bincount(cluster, column) for column in columns.T], axis=1)


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
    """By how much the slopes of clusters of rows differ, `element` being what is independent within one."""

    cluster: IntArray
    element: IntArray
    slope: FloatArray

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
            return 0.0
        of_clusters = np.bincount(self.cluster, scores)
        found = float(of_clusters @ of_clusters - squares.sum()) / scale
        return min(max(found, 0.0), MOST_VARIANCE)
