"""Fits how affinity moves conversions, on views of the past weeks, by the affinities of each week's eve."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from services.optimizer.affinity_training.fit import Week
from services.optimizer.domain.affinity.affinity_contacts import FloatArray, total_by
from services.optimizer.domain.affinity.affinity_features import Merchants, pair_features
from services.optimizer.domain.affinity.affinity_model import HORIZON_DAYS, LogisticTerms, score_pairs
from services.optimizer.domain.affinity.affinity_response import (
    LEAST_SCORE,
    UNKNOWN_RESPONSE,
    AffinityResponse,
    Exposures,
    draw_to_prior,
)
from services.optimizer.domain.response.response import logistic, logit

FEWEST_CONVERSIONS: Final = 50
"""Fewer of them, or of views without one, tell nothing of an exponent."""
_LEAST_SHARE: Final = 0.01
"""Views at lower affinities than this share's are too few to speak for them."""
_STEPS: Final = 50
_LARGEST_STEP: Final = 1.0
_DONE: Final = 1e-8
_RIDGE: Final = 1e-6
"""What is added to the curvature: a direction that no view tells of is then unknown, and no division by 0."""


def fit_response(
    exposures: Exposures,
    weeks: Sequence[Week],
    merchants: Merchants,
    *,
    returning: LogisticTerms,
    first: LogisticTerms,
) -> AffinityResponse:
    """Return how affinity moves conversions; the prior alone where too few views of these weeks tell."""
    seen, scores = [], []
    for week in weeks:
        inside = (exposures.day >= week.first_day) & (exposures.day < week.first_day + HORIZON_DAYS)
        of_week = exposures.select(inside & (week.evidence.tenure[exposures.user] > 0))
        keys, place = np.unique(of_week.user * len(merchants) + of_week.merchant, return_inverse=True)
        pairs = pair_features(week.evidence, week.taste, merchants, week.visitor_share, keys)
        seen.append(of_week)
        scores.append(score_pairs(pairs, returning, first)[place.reshape(-1)])
    return respond(Exposures.concatenate(seen), np.concatenate(scores))


def respond(exposures: Exposures, scores: FloatArray) -> AffinityResponse:
    """Return how conversions go with `scores`, the affinities on the eve, one per entry of the exposures."""
    views, conversions = exposures.views.astype(np.float64), exposures.conversions.astype(np.float64)
    if min(conversions.sum(), (views - conversions).sum()) < FEWEST_CONVERSIONS:
        return UNKNOWN_RESPONSE
    logs, users = np.log(np.maximum(scores, LEAST_SCORE)), int(exposures.user.max()) + 1
    viewed = np.maximum(total_by(exposures.user, views, users), 1.0)
    usual = (total_by(exposures.user, views * logs, users) / viewed)[exposures.user]
    exponent, error = draw_to_prior(*_fit_within(np.column_stack([logs, usual]), exposures))
    order = np.argsort(scores)
    least = int(np.searchsorted(np.cumsum(views[order]), _LEAST_SHARE * views.sum()))
    return AffinityResponse(
        exponent=exponent,
        standard_error=error,
        usual_log_score=float(np.average(logs, weights=views)),
        least_score=float(scores[order[least]]),
        views=int(views.sum()),
        conversions=int(conversions.sum()),
    )


def _fit_within(values: FloatArray, exposures: Exposures) -> tuple[float, float]:
    """Return the first coefficient of a logistic regression with an effect of each stratum, and its error.

    Newton's method on coefficients and effects together: a step's effects are taken out by centring within
    strata, weighted by information. The error is the larger one of the information's and of Liang and
    Zeger's (Biometrika 73 (1986), equation 4), for which a user's views are one observation.
    """
    views, conversions = exposures.views.astype(np.float64), exposures.conversions.astype(np.float64)
    _, stratum = np.unique(exposures.stratum, return_inverse=True)
    strata = int(stratum.max()) + 1

    def by_stratum(parts: FloatArray) -> FloatArray:
        return total_by(stratum, parts, strata)

    effects = logit((by_stratum(conversions) + 0.5) / (by_stratum(views) + 1.0))
    coefficients = np.zeros(values.shape[1])
    for _ in range(_STEPS):
        rates = logistic(effects[stratum] + values @ coefficients)
        weights, missing = views * rates * (1.0 - rates), conversions - views * rates
        information = by_stratum(weights) + _RIDGE
        centres = np.column_stack([by_stratum(weights * column) for column in values.T])
        centres /= information[:, np.newaxis]
        within = values - centres[stratum]
        curvature = (within * weights[:, np.newaxis]).T @ within + _RIDGE * np.eye(len(coefficients))
        step = np.linalg.solve(curvature, within.T @ missing)
        coefficients += step
        lacking = by_stratum(missing) / information - centres @ step
        effects += np.clip(lacking, -_LARGEST_STEP, _LARGEST_STEP)
        if float(np.abs(step).max()) < _DONE:
            break
    inverse = np.linalg.inv(curvature)
    users = int(exposures.user.max()) + 1
    of_users = np.column_stack([total_by(exposures.user, missing * column, users) for column in within.T])
    robust = inverse @ of_users.T @ of_users @ inverse
    return float(coefficients[0]), float(np.sqrt(max(inverse[0, 0], robust[0, 0])))
