"""Statements of recommendations and of what was decided about them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from services.optimizer.domain.models.version import CONVERSION_MODEL
from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.recommendations.recommendations import (
    Action,
    Decision,
    Draft,
    Recommendation,
    RecommendationType,
    Status,
)
from services.optimizer.domain.recommendations.terms import Terms
from services.optimizer.store.statements import STATEMENTS, Connection, Record, fetch_required


async def lock_recommendations(connection: Connection, campaign_id: str) -> None:
    """Wait until a campaign's recommendations are this transaction's to change."""
    await connection.execute(STATEMENTS["lock_recommendations"].sql, campaign_id)


async def list_current(
    connection: Connection, campaign_id: str
) -> Mapping[RecommendationType, Recommendation]:
    """Return by type what waits to be decided or applied."""
    rows = await connection.fetch(STATEMENTS["list_current_optimizations"].sql, campaign_id)
    return {kept.draft.type: kept for kept in map(recommendation_from_row, rows)}


async def lock_current(
    connection: Connection, campaign_id: str
) -> Mapping[RecommendationType, Recommendation]:
    """Return the same once nobody else is deciding about them, this transaction's to change."""
    rows = await connection.fetch(STATEMENTS["lock_current_optimizations"].sql, campaign_id)
    return {kept.draft.type: kept for kept in map(recommendation_from_row, rows)}


async def list_closed(connection: Connection, campaign_id: str, now: datetime) -> Sequence[Recommendation]:
    """Return what was dismissed or applied and has not expired, the latest decided first."""
    rows = await connection.fetch(STATEMENTS["list_closed_optimizations"].sql, campaign_id, now)
    return [recommendation_from_row(row) for row in rows]


async def lock_recommendation(connection: Connection, recommendation_id: str) -> Recommendation | None:
    """Return a recommendation, this transaction's to change."""
    row = await connection.fetchrow(STATEMENTS["lock_optimization"].sql, recommendation_id)
    return None if row is None else recommendation_from_row(row)


async def insert_recommendation(connection: Connection, kept: Recommendation) -> None:
    """Keep a new recommendation."""
    await connection.execute(
        STATEMENTS["insert_optimization"].sql,
        kept.recommendation_id,
        kept.campaign_id,
        kept.draft.type.value,
        kept.status.value,
        *_figures(kept.draft),
        kept.created_at,
        kept.expires_at,
        kept.inputs_key,
        kept.draft.choice,
    )


async def refresh_recommendation(connection: Connection, kept: Recommendation, now: datetime) -> None:
    """Give a recommendation of lock_current that says the same its new figures."""
    await fetch_required(
        connection,
        "refresh_optimization",
        kept.recommendation_id,
        *_figures(kept.draft),
        kept.expires_at,
        kept.inputs_key,
        now,
    )


async def update_status(connection: Connection, kept: Recommendation) -> None:
    """Keep where a locked recommendation stands that waited to be decided or applied."""
    await fetch_required(
        connection,
        "update_optimization_status",
        kept.recommendation_id,
        kept.status.value,
        kept.decided_at,
        kept.applied_at,
    )


async def insert_decision(connection: Connection, recommendation_id: str, decision: Decision) -> None:
    """Add what was done with a recommendation that is this transaction's to change."""
    await connection.execute(
        STATEMENTS["insert_optimization_decision"].sql,
        recommendation_id,
        decision.action.value,
        decision.actor,
        decision.comment,
        decision.decided_at,
    )


async def list_decisions(connection: Connection, recommendation_id: str) -> tuple[Decision, ...]:
    """Return what was done with a recommendation, the oldest first."""
    rows = await connection.fetch(STATEMENTS["list_optimization_decisions"].sql, recommendation_id)
    return tuple(
        Decision(
            action=Action(row["action"]),
            actor=row["actor"],
            comment=row["comment"],
            decided_at=row["decided_at"],
        )
        for row in rows
    )


async def list_expired(connection: Connection, now: datetime, limit: int) -> Sequence[str]:
    """Return recommendations that nobody decided or applied in time, but for those being decided just now."""
    rows = await connection.fetch(STATEMENTS["list_expired_optimizations"].sql, now, limit)
    return [str(row["optimization_id"]) for row in rows]


def _figures(draft: Draft) -> tuple[object, ...]:
    evidence = {"text": draft.evidence, "kind": draft.evidence_kind}
    return (
        json.dumps(asdict(draft)),
        json.dumps(evidence),
        draft.effect,
        draft.confidence,
        None if draft.model_version is None else CONVERSION_MODEL,
        draft.model_version,
    )


def recommendation_from_row(row: Record) -> Recommendation:
    """Return a recommendation, without its decisions."""
    return Recommendation(
        recommendation_id=str(row["optimization_id"]),
        campaign_id=row["campaign_id"],
        status=Status(row["status"]),
        draft=draft_from_document(json.loads(row["recommendation"])),
        inputs_key=row["inputs_key"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        decided_at=row["decided_at"],
        applied_at=row["applied_at"],
    )


def draft_from_document(document: dict[str, Any]) -> Draft:
    """Return a draft as it was kept."""
    intervals = {
        name: None if document[name] is None else Interval(**document[name])
        for name in ("interval", "predicted_interval")
    }
    terms = document.get("terms")
    return Draft(
        **{
            **document,
            **intervals,
            "type": RecommendationType(document["type"]),
            "terms": None if terms is None else Terms(**terms),
        }
    )
