"""Fits how affinity moves conversions, on views of the past weeks, by the affinities of each week's eve."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from scipy.special import expit

from services.common.telemetry import get_logger
from services.optimizer.affinity_training.fit import Week
from services.optimizer.domain.affinity.contacts import FloatArray, IntArray, total_by
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
from services.optimizer.domain.response.response import logit

FEWEST_CONVERSIONS: Final = 50
"""Fewer of them, or of views without one, tell nothing of an exponent."""
LARGEST_ERROR: Final = 10.0 * PRIOR_DEVIATION
"""An exponent that is less certain than this is the prior's: views would move it by a hundredth at most."""
_LEAST_SHARE: Final = 0.01
"""Views at lower affinities than this share's are too few to speak for them."""
_DONE: Final = 1e-8
_RIDGE: Final = 1e-6
"""What is added to the curvature: a direction that no view tells of is then unknown, and no division by 0."""
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
    """Return the first coefficient of a logistic regression with an effect of each stratum, and its error.

    None where the views do not tell it: no likeliest value was reached, as where affinities part conversions
    from the rest, or it is uncertain by more than `LARGEST_ERROR`. Every stratum has views with and without
    a conversion. The error is the larger one of the information's and of Liang and Zeger's (Biometrika 73
    (1986), equation 4), for which a user's views are one observation.
    """
    design = _Design.of(values, exposures)
    solved = design.climb()
    if solved is None:
        _log.warning(_NOT_MEASURED, reason="the fit did not converge", views=design.total)
        return None
    coefficients, effects = solved
    step = design.step(coefficients, effects)
    inverse = np.linalg.inv(step.curvature)
    users = int(exposures.user.max()) + 1
    of_users = np.column_stack(
        [total_by(exposures.user, step.missing * column, users) for column in step.within.T]
    )
    robust = inverse @ of_users.T @ of_users @ inverse
    error = float(np.sqrt(max(inverse[0, 0], robust[0, 0])))
    if not error <= LARGEST_ERROR:
        _log.warning(_NOT_MEASURED, reason="it is too uncertain", error=error, views=design.total)
        return None
    return WithinFit(coefficient=float(coefficients[0]), standard_error=error)


@dataclass(frozen=True, kw_only=True)
class _Step:
    """A step of Newton's method, and what it was made of: `within` are values less their strata's means."""

    coefficients: FloatArray
    effects: FloatArray
    curvature: FloatArray
    within: FloatArray
    missing: FloatArray


@dataclass(frozen=True, kw_only=True)
class _Design:
    """A logistic regression on `values` (rows, k), centred within strata, and an effect of each stratum."""

    values: FloatArray
    stratum: IntArray
    views: FloatArray
    conversions: FloatArray

    @classmethod
    def of(cls, values: FloatArray, exposures: Exposures) -> Self:
        """Centre `values` within strata: effects alone change by it, and coefficients of 0 start well."""
        _, stratum = np.unique(exposures.stratum, return_inverse=True)
        views = exposures.views.astype(np.float64)
        of_strata = np.maximum(np.bincount(stratum, views), 1.0)
        means = np.column_stack([np.bincount(stratum, views * column) / of_strata for column in values.T])
        return cls(
            values=values - means[stratum],
            stratum=stratum,
            views=views,
            conversions=exposures.conversions.astype(np.float64),
        )

    @property
    def total(self) -> int:
        """How many views there are."""
        return int(self.views.sum())

    def by_stratum(self, parts: FloatArray) -> FloatArray:
        """Return the sums of `parts` over each stratum's rows."""
        return total_by(self.stratum, parts, int(self.stratum.max()) + 1)

    def climb(self) -> tuple[FloatArray, FloatArray] | None:
        """Return the likeliest coefficients and effects; None where there are none."""
        effects = logit((self.by_stratum(self.conversions) + 0.5) / (self.by_stratum(self.views) + 1.0))
        count = self.values.shape[1]

        def step_of(place: FloatArray) -> FloatArray:
            step = self.step(place[:count], place[count:])
            return np.concatenate([step.coefficients, step.effects])

        found = climb(
            np.concatenate([np.zeros(count), effects]),
            step_of,
            lambda place: self.log_likelihood(place[:count], place[count:]),
            small_step=_DONE,
        )
        return None if found is None else (found[:count], found[count:])

    def log_likelihood(self, coefficients: FloatArray, effects: FloatArray) -> float:
        """Return the binomial log likelihood, up to a constant."""
        predictor = effects[self.stratum] + self.values @ coefficients
        return float(np.sum(self.conversions * predictor - self.views * np.logaddexp(0.0, predictor)))

    def step(self, coefficients: FloatArray, effects: FloatArray) -> _Step:
        """Return Newton's step on coefficients and effects together.

        Effects are taken out by centring within strata, weighted by information (Schur complement); they
        then make up for what the coefficients' step moves their strata by.
        """
        rates = expit(effects[self.stratum] + self.values @ coefficients)
        weights, missing = self.views * rates * (1.0 - rates), self.conversions - self.views * rates
        information = self.by_stratum(weights) + _RIDGE
        centres = np.column_stack([self.by_stratum(weights * column) for column in self.values.T])
        centres /= information[:, np.newaxis]
        of_effects = self.by_stratum(missing) / information
        within = self.values - centres[self.stratum]
        curvature = (within * weights[:, np.newaxis]).T @ within + _RIDGE * np.eye(len(coefficients))
        moved = np.asarray(np.linalg.solve(curvature, within.T @ missing), dtype=np.float64)
        return _Step(
            coefficients=moved,
            effects=of_effects - centres @ moved,
            curvature=curvature,
            within=within,
            missing=missing,
        )
