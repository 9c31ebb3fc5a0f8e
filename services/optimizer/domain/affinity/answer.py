"""Merchants for a user as they are answered and kept: score, what the score is worth, reasons."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

import numpy as np
from scipy.special import expit, logit, ndtri

from services.optimizer.domain.affinity.contacts import Contacts, Evidence, IntArray, gather
from services.optimizer.domain.affinity.model import (
    AffinityModel,
    Scored,
    best_rows,
    population_ranking,
    score_users,
)
from services.optimizer.domain.affinity.reasons import Explainer, population_reason
from services.optimizer.domain.affinity.response import UNKNOWN_RESPONSE, AffinityResponse

_Z95: Final = float(ndtri(0.975))


class AffinitySource(Enum):
    """Where an answer comes from: kept by the job, from the user's events just now, or from everybody's."""

    KEPT = "kept"
    LIVE = "live"
    POPULATION = "population"


@dataclass(frozen=True, kw_only=True)
class ScoreRange:
    """What pairs with such a score are visited with, as a held-out week tells: 95 %, around the score."""

    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class MerchantAffinity:
    """A merchant for a user; `score` is the probability that the user buys there within the horizon."""

    merchant_id: int
    merchant_name: str
    score: float
    score_range: ScoreRange | None
    reasons: tuple[str, ...]
    is_returning: bool
    distance_km: float | None


@dataclass(frozen=True, kw_only=True)
class Affinity:
    """Merchants for a user, the highest score first, ties by merchant_id."""

    user_id: str
    source: AffinitySource
    computed_at: datetime
    model_version: int
    merchants: tuple[MerchantAffinity, ...]


@dataclass(frozen=True, kw_only=True)
class UserScores:
    """A user's score of each of some merchants, by merchant_id; words are made only for those asked about.

    `explain` takes merchants that have a score; `response` is how scores move conversions in campaigns.
    """

    scores: Mapping[int, float]
    explain: Callable[[Sequence[int]], tuple[MerchantAffinity, ...]]
    response: AffinityResponse = UNKNOWN_RESPONSE


def score_range(model: AffinityModel, score: float) -> ScoreRange | None:
    """Return how far scores like this one turned out to be off, None where too few were held out.

    The score is the estimate, and its error on the logit that of its band.
    """
    error = model.score_error(score)
    if error is None:
        return None
    lower, upper = expit(logit(score) + _Z95 * error * np.array([-1.0, 1.0]))
    return ScoreRange(lower=float(lower), upper=float(upper))


def gather_for(model: AffinityModel, contacts: Contacts, as_of: int, user_count: int) -> Evidence:
    """Return the evidence of users as the model counts it."""
    counted = contacts.count_redemptions_as_visits() if model.redemptions_are_visits else contacts
    return gather(counted, as_of, user_count=user_count, merchant_count=len(model.merchants))


def answer_users(
    model: AffinityModel, evidence: Evidence, *, limit: int
) -> list[tuple[MerchantAffinity, ...]]:
    """Return every user's best merchants, `limit` at most."""
    scored = score_users(model, evidence)
    rows = best_rows(scored, evidence.merchant_count, limit)
    users = scored.pairs.key[rows] // evidence.merchant_count
    answers: list[list[MerchantAffinity]] = [[] for _ in range(evidence.user_count)]
    for user, answer in zip(users.tolist(), _describe(model, evidence, scored, rows), strict=True):
        answers[user].append(answer)
    return [tuple(answer) for answer in answers]


def answer_by_population(model: AffinityModel, *, limit: int) -> tuple[MerchantAffinity, ...]:
    """Return the merchants for a user of whom nothing is known."""
    return _describe_population(model, population_ranking(model.weekly_share)[:limit])


def score_user(model: AffinityModel, evidence: Evidence, merchant_ids: Sequence[int]) -> UserScores:
    """Return the scores of the only user in `evidence`, of those of the merchants that the model knows."""
    wanted = _known_places(model, merchant_ids)
    scored = score_users(model, evidence, also=wanted)
    scored = scored.select(np.isin(scored.pairs.key, wanted))  # of one user, a pair's key is the merchant
    ids = model.merchants.ids[scored.pairs.key].tolist()

    def explain(chosen: Sequence[int]) -> tuple[MerchantAffinity, ...]:
        rows = np.searchsorted(scored.pairs.key, _known_places(model, chosen))
        return tuple(_describe(model, evidence, scored, rows))

    return UserScores(
        scores=dict(zip(ids, scored.probability.tolist(), strict=True)),
        explain=explain,
        response=model.response,
    )


def score_by_population(model: AffinityModel, merchant_ids: Sequence[int]) -> UserScores:
    """Return the scores for a user of whom nothing is known, of the merchants that the model knows."""
    wanted = _known_places(model, merchant_ids)
    ids = model.merchants.ids[wanted].tolist()

    def explain(chosen: Sequence[int]) -> tuple[MerchantAffinity, ...]:
        return _describe_population(model, _known_places(model, chosen).tolist())

    return UserScores(
        scores=dict(zip(ids, model.weekly_share[wanted].tolist(), strict=True)),
        explain=explain,
        response=model.response,
    )


def _known_places(model: AffinityModel, merchant_ids: Sequence[int]) -> IntArray:
    """Return the positions of the merchants that the model knows, ascending, each once."""
    places = model.positions
    known = {places[merchant_id] for merchant_id in merchant_ids if merchant_id in places}
    return np.array(sorted(known), dtype=np.int64)


def _describe(
    model: AffinityModel, evidence: Evidence, scored: Scored, rows: IntArray
) -> list[MerchantAffinity]:
    reasons = Explainer(model=model, evidence=evidence, pairs=scored.pairs).reasons(rows)
    described = []
    for row, why in zip(rows.tolist(), reasons, strict=True):
        place = int(scored.pairs.key[row] % evidence.merchant_count)
        distance = float(scored.pairs.distance_km[row])
        score = float(scored.probability[row])
        described.append(
            MerchantAffinity(
                merchant_id=int(model.merchants.ids[place]),
                merchant_name=model.merchants.names[place],
                score=score,
                score_range=score_range(model, score),
                reasons=why,
                is_returning=bool(scored.pairs.is_returning[row]),
                distance_km=None if np.isnan(distance) else distance,
            )
        )
    return described


def _describe_population(model: AffinityModel, places: Sequence[int]) -> tuple[MerchantAffinity, ...]:
    return tuple(
        MerchantAffinity(
            merchant_id=int(model.merchants.ids[place]),
            merchant_name=model.merchants.names[place],
            score=float(model.weekly_share[place]),
            score_range=None,
            reasons=(population_reason(float(model.weekly_share[place])),),
            is_returning=False,
            distance_km=None,
        )
        for place in places
    )
