"""Merchants for a user as they are answered and kept: score, what the score is worth, reasons."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

import numpy as np
from scipy.special import expit, logit

from services.optimizer.domain.affinity_contacts import Contacts, Evidence, IntArray, gather
from services.optimizer.domain.affinity_model import (
    AffinityModel,
    Scored,
    best_rows,
    population_ranking,
    score_users,
)
from services.optimizer.domain.affinity_reasons import Explainer, population_reason


class AffinitySource(Enum):
    """Where an answer comes from: kept by the job, from the user's events just now, or from everybody's."""

    KEPT = "kept"
    LIVE = "live"
    POPULATION = "population"


@dataclass(frozen=True, kw_only=True)
class ScoreRange:
    """How often pairs with such a score were visited in the held-out week: 95 % confidence."""

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


def score_range(model: AffinityModel, score: float) -> ScoreRange | None:
    """Return what scores like this one turned out to be worth, None where too few were held out.

    The score is moved on the logit as far as the ends of its band's interval lie from the band's mean score.
    """
    band = model.band_of(score)
    if band is None:
        return None
    lower, upper = expit(logit(score) + logit([band.lower, band.upper]) - logit(band.mean_score))
    return ScoreRange(lower=float(lower), upper=float(upper))


def gather_for(model: AffinityModel, contacts: Contacts, as_of: int, user_count: int) -> Evidence:
    """Return the evidence of users as the model counts it."""
    counted = contacts.count_redemptions_as_visits() if model.redemptions_are_visits else contacts
    return gather(counted, as_of, user_count=user_count, merchant_count=len(model.merchants))


def answer_users(
    model: AffinityModel, evidence: Evidence, *, limit: int, only: IntArray | None = None
) -> list[tuple[MerchantAffinity, ...]]:
    """Return every user's best merchants.

    Args:
        model: the model.
        evidence: what is known of the users.
        limit: how many merchants per user at most.
        only: these merchants (positions) and no other.
    """
    scored = score_users(model, evidence, also=only)
    if only is not None:
        scored = _restrict(scored, only, evidence.merchant_count)
    rows = best_rows(scored, evidence.merchant_count, limit)
    reasons = Explainer(model=model, evidence=evidence, pairs=scored.pairs).reasons(rows)
    users = scored.pairs.key[rows] // evidence.merchant_count
    answers: list[list[MerchantAffinity]] = [[] for _ in range(evidence.user_count)]
    for user, row, why in zip(users.tolist(), rows.tolist(), reasons, strict=True):
        place = int(scored.pairs.key[row] % evidence.merchant_count)
        distance = float(scored.pairs.distance_km[row])
        score = float(scored.probability[row])
        answers[user].append(
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
    return [tuple(answer) for answer in answers]


def answer_by_population(
    model: AffinityModel, *, limit: int, only: IntArray | None = None
) -> tuple[MerchantAffinity, ...]:
    """Return the merchants for a user of whom nothing is known."""
    ranked: Sequence[int] = population_ranking(model.weekly_share)
    if only is not None:
        wanted = set(only.tolist())
        ranked = [place for place in ranked if place in wanted]
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
        for place in ranked[:limit]
    )


def _restrict(scored: Scored, only: IntArray, merchant_count: int) -> Scored:
    return scored.select(np.isin(scored.pairs.key % merchant_count, only))
