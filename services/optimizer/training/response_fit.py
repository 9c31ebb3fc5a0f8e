"""Fits the response to offers: a penalised logistic regression with effects of campaigns and days.

    logit rate = intercept + type + campaign + day + sum_k (beta[k] + delta[type, k]) * s_k(offer)

A campaign's own level and a day's own luck are taken out by their effects, so that the offer's effect is
learned from offers that changed within campaigns, not from campaigns that differ. Ridge penalties are normal
priors: types share one shape (beta) and depart from it (delta) as far as their data insists. Solved by
Newton's method; the campaigns' block is diagonal and is eliminated (Schur complement), so that thousands of
campaigns cost little. Standard errors are widened by Pearson's dispersion, because one user's views are not
independent.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse

from services.optimizer.domain.features import MICROS_PER_UNIT, DailyTable, FloatArray
from services.optimizer.domain.response import TypeResponse, logistic, logit, saturating_terms
from services.optimizer.domain.support import Support

SHARED_SPREAD: Final = 3.0
TYPE_SPREAD: Final = 1.5
TYPE_LEVEL_SPREAD: Final = 2.0
CAMPAIGN_SPREAD: Final = 1.0
DAY_SPREAD: Final = 0.3
"""Prior standard deviations, on the logit scale, of beta, delta, the types', campaigns' and days' effects."""
_MOST_STEPS: Final = 50
_SMALL_STEP: Final = 1e-8


@dataclass(frozen=True, kw_only=True)
class _Design:
    """The penalised regression: `shared` columns (rows, q) and one more column per campaign."""

    shared: sparse.csr_array
    campaigns: sparse.csr_array
    shared_precision: FloatArray
    views: FloatArray
    rates: FloatArray


def fit_response(table: DailyTable, support: Support) -> dict[int, TypeResponse]:
    """Return the response of each campaign type that has a campaign with more than one offer; usable rows."""
    types = np.unique(table.campaign_type)
    design = _build_design(table, types)
    coefficients, covariance = _solve(design)
    terms = saturating_terms(np.zeros(1)).shape[1]
    responses = {}
    for place, campaign_type in enumerate(types):
        if support[int(campaign_type)].varied_campaigns == 0:
            continue
        own = np.arange(terms) + terms * (place + 1)
        pick = np.zeros((terms, len(coefficients)))
        pick[np.arange(terms), np.arange(terms)] = 1.0
        pick[np.arange(terms), own] = 1.0
        responses[int(campaign_type)] = TypeResponse(
            coefficients=pick @ coefficients, covariance=pick @ covariance @ pick.T
        )
    return responses


def _build_design(table: DailyTable, types: np.ndarray) -> _Design:
    """Columns: beta (k), delta (types * k), type levels, days, intercept."""
    rows = np.arange(len(table))
    terms = saturating_terms(table.offer_micros / MICROS_PER_UNIT)
    count = terms.shape[1]
    type_place = np.searchsorted(types, table.campaign_type)
    days, day_place = np.unique(table.day, return_inverse=True)
    deltas = sparse.csr_array(
        (
            terms.ravel(),
            (np.repeat(rows, count), (type_place[:, np.newaxis] * count + np.arange(count)).ravel()),
        ),
        shape=(len(table), len(types) * count),
    )
    blocks = [
        sparse.csr_array(terms),
        deltas,
        _indicators(type_place, len(types)),
        _indicators(day_place, len(days)),
        sparse.csr_array(np.ones((len(table), 1))),
    ]
    spreads = (SHARED_SPREAD, TYPE_SPREAD, TYPE_LEVEL_SPREAD, DAY_SPREAD)
    precision = [
        np.full(block.shape[1], spread**-2) for block, spread in zip(blocks[:-1], spreads, strict=True)
    ]
    return _Design(
        shared=sparse.csr_array(sparse.hstack(blocks)),
        campaigns=_indicators(table.campaign, len(table.campaign_ids)),
        shared_precision=np.concatenate([*precision, np.zeros(1)]),
        views=table.views.astype(np.float64),
        rates=table.conversion_rate,
    )


def _indicators(place: np.ndarray, width: int) -> sparse.csr_array:
    rows = np.arange(len(place))
    return sparse.csr_array((np.ones(len(place)), (rows, place)), shape=(len(place), width))


def _solve(design: _Design) -> tuple[FloatArray, FloatArray]:
    """Return the shared coefficients (q) at the posterior's mode, and their covariance (q, q)."""
    shared = np.zeros(design.shared.shape[1])
    shared[-1] = logit(np.array([np.average(design.rates, weights=design.views)]))[0]
    campaigns = np.zeros(design.campaigns.shape[1])
    best = _objective(design, shared, campaigns)
    for _ in range(_MOST_STEPS):
        shared_step, campaign_step, _ = _newton_step(design, shared, campaigns)
        size = 1.0
        while (
            value := _objective(design, shared + size * shared_step, campaigns + size * campaign_step)
        ) < best and size > _SMALL_STEP:
            size /= 2.0
        shared, campaigns, best = shared + size * shared_step, campaigns + size * campaign_step, value
        if float(np.max(np.abs(size * shared_step))) < _SMALL_STEP:
            break
    _, _, schur = _newton_step(design, shared, campaigns)
    return shared, np.asarray(np.linalg.inv(schur)) * _dispersion(design, shared, campaigns)


def _newton_step(
    design: _Design, shared: FloatArray, campaigns: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the steps of shared and campaign coefficients, and the Schur complement of the campaigns."""
    rates = _rates(design, shared, campaigns)
    weights = design.views * rates * (1.0 - rates)
    residual = design.views * (design.rates - rates)
    campaign_precision = np.full(len(campaigns), CAMPAIGN_SPREAD**-2)
    shared_gradient = design.shared.T @ residual - design.shared_precision * shared
    campaign_gradient = design.campaigns.T @ residual - campaign_precision * campaigns
    weighted = design.shared.multiply(weights[:, np.newaxis]).tocsr()
    block = (design.shared.T @ weighted).toarray() + np.diag(design.shared_precision)
    border = (weighted.T @ design.campaigns).toarray()
    diagonal = design.campaigns.T @ weights + campaign_precision
    schur = block - (border / diagonal) @ border.T
    shared_step = np.linalg.solve(schur, shared_gradient - border @ (campaign_gradient / diagonal))
    campaign_step = (campaign_gradient - border.T @ shared_step) / diagonal
    return shared_step, campaign_step, schur


def _rates(design: _Design, shared: FloatArray, campaigns: FloatArray) -> FloatArray:
    return logistic(design.shared @ shared + design.campaigns @ campaigns)


def _objective(design: _Design, shared: FloatArray, campaigns: FloatArray) -> float:
    """Return the log posterior, up to a constant."""
    predictor = design.shared @ shared + design.campaigns @ campaigns
    likelihood = design.views * (design.rates * predictor - np.logaddexp(0.0, predictor))
    penalty = np.sum(design.shared_precision * shared**2) + np.sum(campaigns**2) / CAMPAIGN_SPREAD**2
    return float(likelihood.sum() - penalty / 2.0)


def _dispersion(design: _Design, shared: FloatArray, campaigns: FloatArray) -> float:
    """Return Pearson's chi-squared over its degrees of freedom, at least 1."""
    rates = np.clip(_rates(design, shared, campaigns), 1e-9, 1.0 - 1e-9)
    squares = design.views * (design.rates - rates) ** 2 / (rates * (1.0 - rates))
    freedom = max(len(rates) - len(shared) - len(campaigns), 1)
    return max(1.0, float(squares.sum()) / freedom)
