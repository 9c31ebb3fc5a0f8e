"""Fits how affinity moves conversions, on views of the past weeks, by the affinities of each week's eve."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.common.telemetry import get_logger
from services.optimizer.affinity_training.conditional import Design
from services.optimizer.affinity_training.fit import Week
from services.optimizer.domain.affinity.contacts import FloatArray, total_by
from services.optimizer.domain.affinity.features import Merchants, pair_features
from services.optimizer.domain.affinity.model import HORIZON_DAYS, LogisticTerms, score_pairs
from services.optimizer.domain.affinity.response import (
    LEAST_SCORE,
    PRIOR_DEVIATION,
    UNKNOWN_RESPONSE,
    AffinityResponse,
    Exposures,
    draw_to_prior,
)
from services.optimizer.domain.response.climb import climb

FEWEST_CONVERSIONS: Final = 20
"""Of fewer, or of fewer views without one, the exponent's error is no error of a normal law."""
LARGEST_ERROR: Final = 10.0 * PRIOR_DEVIATION
"""An exponent that is less certain than this is the prior's: views would move it by a hundredth at most."""
_LEAST_SHARE: Final = 0.01
"""Views at lower affinities than this share's are too few to speak for them."""
_DONE: Final = 1e-8
_NOT_MEASURED: Final = "how affinity moves conversions is not measured: the prior counts"
_log = get_logger("optimizer")


@dataclass(frozen=True, kw_only=True)
class WithinFit:
    """What views within strata tell of the first coefficient, before any prior."""

    coefficient: float
    standard_error: float


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
    """Return how conversions go with `scores`, the affinities on the eve, one per entry of the exposures.

    Strata in which nothing or everything converted have no likeliest effect but an infinite one, and tell
    nothing of the exponent: they are left out (Chamberlain, Review of Economic Studies 47 (1980)).
    """
    logs, users = np.log(np.maximum(scores, LEAST_SCORE)), int(exposures.user.max(initial=0)) + 1
    viewed = np.maximum(np.bincount(exposures.user, exposures.views, users), 1.0)
    usual = (np.bincount(exposures.user, exposures.views * logs, users) / viewed)[exposures.user]
    _, stratum = np.unique(exposures.stratum, return_inverse=True)
    without = np.bincount(stratum, exposures.views - exposures.conversions)
    mixed = (np.bincount(stratum, exposures.conversions) > 0) & (without > 0)
    telling = exposures.select(mixed[stratum])
    views, conversions = telling.views.astype(np.float64), telling.conversions.astype(np.float64)
    if min(conversions.sum(), (views - conversions).sum()) < FEWEST_CONVERSIONS:
        return UNKNOWN_RESPONSE
    fit = fit_within(np.column_stack([logs, usual])[mixed[stratum]], telling)
    if fit is None:
        return UNKNOWN_RESPONSE
    exponent, error = draw_to_prior(fit.coefficient, fit.standard_error)
    told = scores[mixed[stratum]]
    order = np.argsort(told)
    least = int(np.searchsorted(np.cumsum(views[order]), _LEAST_SHARE * views.sum()))
    return AffinityResponse(
        exponent=exponent,
        standard_error=error,
        usual_log_score=float(np.average(logs, weights=exposures.views)),
        least_score=float(told[order[least]]),
        views=int(views.sum()),
        conversions=int(conversions.sum()),
    )


def fit_within(values: FloatArray, exposures: Exposures) -> WithinFit | None:
    """Return the first coefficient of a conditional logistic regression within strata, and its error.

    Conditional on the strata's conversions, since effects fitted beside the coefficients bend these where
    strata have few views (Neyman and Scott, Econometrica 16 (1948)): by a half at three views each. None
    where the views do not tell it: no likeliest value was reached, as where affinities part conversions from
    the rest, or it is uncertain by more than `LARGEST_ERROR`. Every stratum has views with and without a
    conversion. The error is the larger one of the information's and of Liang and Zeger's (Biometrika 73
    (1986), equation 4), for which a user's views are one observation.
    """
    design = Design.of(values, exposures)
    found = climb(
        np.zeros(values.shape[1]), design.step, lambda place: design.at(place).height, small_step=_DONE
    )
    if found is None:
        _log.warning(_NOT_MEASURED, reason="the fit did not converge", views=design.total)
        return None
    inverse = np.linalg.inv(design.curvature(found))
    scores, users = design.at(found).scores, int(exposures.user.max()) + 1
    of_users = np.column_stack([total_by(exposures.user, column, users) for column in scores.T])
    robust = inverse @ of_users.T @ of_users @ inverse
    error = float(np.sqrt(max(inverse[0, 0], robust[0, 0])))
    if not error <= LARGEST_ERROR:
        _log.warning(_NOT_MEASURED, reason="it is too uncertain", error=error, views=design.total)
        return None
    return WithinFit(coefficient=float(found[0]), standard_error=error)
