"""Fits the response to offers: a penalised logistic regression that takes out what offers went along with.

    logit rate = intercept + type + campaign + day + audience
                 + sum_k (beta[k] + delta[type, k]) * s_k(offer)

Past offers were not random. A campaign's own level, a day's own luck and the segments that an offer met are
taken out by their effects, so that the offer's effect is learned from offers that changed within a campaign
before the same segments (adjustment by the g-formula: J. Robins 1986, "A new approach to causal inference in
mortality studies"; serving averages over the campaign's audience, `domain/response/response.py`). What may
have bent it unseen is a false slope, which offers that were drawn with a logged propensity measure
(`domain/response/doubly_robust.py`).

Ridge penalties are normal priors: types share one shape (beta) and depart from it (delta) as far as their
data insists. Solved by Newton's method; the campaigns' block is diagonal and is eliminated (Schur
complement), so that thousands of campaigns cost little. Standard errors are widened by Pearson's dispersion,
because one user's views are not independent.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse

from services.optimizer.domain.features import MICROS_PER_UNIT, FloatArray, IntArray
from services.optimizer.domain.response.doubly_robust import FalseSlope, believe, measure_false_slope
from services.optimizer.domain.response.offer_cells import OfferCells
from services.optimizer.domain.response.response import TypeResponse, logistic, logit, saturating_terms
from services.optimizer.domain.response.support import Support

SHARED_SPREAD: Final = 3.0
TYPE_SPREAD: Final = 1.5
TYPE_LEVEL_SPREAD: Final = 2.0
CAMPAIGN_SPREAD: Final = 1.0
DAY_SPREAD: Final = 0.3
SEGMENT_SPREAD: Final = 0.7
INTERCEPT_SPREAD: Final = 100.0
"""Prior standard deviations, on the logit scale, of beta, delta, the types', campaigns', days' and segment
sets' effects, and of the intercept, which is infinite otherwise where nothing or everything converted."""
MOST_SEGMENT_SETS: Final = 100
"""Segment sets with an effect of their own, the most viewed; the rare others count as average."""
_MOST_STEPS: Final = 50
_SMALL_STEP: Final = 1e-8


@dataclass(frozen=True, kw_only=True)
class FittedResponse:
    """What the regression says, and the doubly robust correction of it.

    `types` has the response of each campaign type that has a campaign with more than one offer;
    `segment_effects` what a segment set adds to the logit; `false_slope` what offers drawn at random show
    the types' curves to be bent by, None where too few were drawn.
    """

    types: dict[int, TypeResponse]
    segment_effects: dict[int, float]
    false_slope: FalseSlope | None


@dataclass(frozen=True, kw_only=True)
class _Design:
    """The penalised regression: `shared` columns (rows, q) and one more column per campaign.

    Columns of `shared`: beta (k), delta (types * k), type levels, days, segment sets, intercept.
    """

    shared: sparse.csr_array
    campaigns: sparse.csr_array
    shared_precision: FloatArray
    views: FloatArray
    rates: FloatArray
    segment_sets: IntArray
    first_segment_column: int


def fit_response(cells: OfferCells, support: Support) -> FittedResponse:
    """Return the response to offers, adjusted for campaigns, days, segments and what drawn offers show."""
    types = np.unique(cells.campaign_type)
    design = _build_design(cells, types)
    shared, campaigns, covariance = _solve(design)
    false_slope = measure_false_slope(cells, _rates(design, shared, campaigns))
    correction, error = believe(false_slope)
    terms = saturating_terms(np.zeros(1)).shape[1]
    responses = {}
    for place, campaign_type in enumerate(types):
        if support[int(campaign_type)].varied_campaigns == 0:
            continue
        own = np.arange(terms) + terms * (place + 1)
        pick = np.zeros((terms, len(shared)))
        pick[np.arange(terms), np.arange(terms)] = 1.0
        pick[np.arange(terms), own] = 1.0
        responses[int(campaign_type)] = TypeResponse(
            coefficients=pick @ shared,
            covariance=pick @ covariance @ pick.T,
            slope=correction,
            slope_error=error,
        )
    effects = shared[design.first_segment_column :][: len(design.segment_sets)]
    return FittedResponse(
        types=responses,
        segment_effects=dict(zip(design.segment_sets.tolist(), effects.tolist(), strict=True)),
        false_slope=false_slope,
    )


def _build_design(cells: OfferCells, types: IntArray) -> _Design:
    rows = np.arange(len(cells))
    terms = saturating_terms(cells.offer_micros / MICROS_PER_UNIT)
    count = terms.shape[1]
    type_place = np.searchsorted(types, cells.campaign_type)
    _, day_place = np.unique(cells.day, return_inverse=True)
    campaign_ids, campaign_place = np.unique(cells.campaign, return_inverse=True)
    views = cells.views.astype(np.float64)
    deltas = sparse.csr_array(
        (
            terms.ravel(),
            (np.repeat(rows, count), (type_place[:, np.newaxis] * count + np.arange(count)).ravel()),
        ),
        shape=(len(cells), len(types) * count),
    )
    segment_sets = _most_viewed(cells.segment_set_id, views)
    blocks = [
        sparse.csr_array(terms),
        deltas,
        _indicators(type_place, len(types)),
        _indicators(day_place, int(day_place.max()) + 1),
        sparse.csr_array((cells.segment_set_id[:, np.newaxis] == segment_sets).astype(np.float64)),
        sparse.csr_array(np.ones((len(cells), 1))),
    ]
    spreads = (SHARED_SPREAD, TYPE_SPREAD, TYPE_LEVEL_SPREAD, DAY_SPREAD, SEGMENT_SPREAD)
    precision = [
        np.full(block.shape[1], spread**-2) for block, spread in zip(blocks[:-1], spreads, strict=True)
    ]
    return _Design(
        shared=sparse.csr_array(sparse.hstack(blocks)),
        campaigns=_indicators(campaign_place, len(campaign_ids)),
        shared_precision=np.concatenate([*precision, np.full(1, INTERCEPT_SPREAD**-2)]),
        views=views,
        rates=cells.conversions / views,
        segment_sets=segment_sets,
        first_segment_column=sum(block.shape[1] for block in blocks[:4]),
    )


def _most_viewed(segment_set_id: IntArray, views: FloatArray) -> IntArray:
    """Return the segment sets that get an effect of their own, rising."""
    sets, inverse = np.unique(segment_set_id, return_inverse=True)
    order = np.argsort(-np.bincount(inverse, weights=views), kind="stable")
    return np.asarray(np.sort(sets[order[:MOST_SEGMENT_SETS]]))


def _indicators(place: np.ndarray, width: int) -> sparse.csr_array:
    rows = np.arange(len(place))
    return sparse.csr_array((np.ones(len(place)), (rows, place)), shape=(len(place), width))


def _solve(design: _Design) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the posterior's mode, shared (q) and campaigns', and the covariance (q, q) of the shared."""
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
    covariance = np.asarray(np.linalg.inv(schur)) * _dispersion(design, shared, campaigns)
    return shared, campaigns, covariance


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
