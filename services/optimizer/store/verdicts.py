"""Statements of what the data spoke against recommending."""

from collections.abc import Mapping
from datetime import datetime

from services.optimizer.domain.recommendations.recommendations import RecommendationType, Withheld
from services.optimizer.store.statements import STATEMENTS, Connection


async def list_verdicts(
    connection: Connection, campaign_id: str, inputs_key: str
) -> Mapping[RecommendationType, Withheld]:
    """Return by type what the data said of the same inputs before."""
    rows = await connection.fetch(STATEMENTS["list_verdicts"].sql, campaign_id, inputs_key)
    kinds = [RecommendationType(row["optimization_type"]) for row in rows]
    return {
        kind: Withheld(type=kind, reason=row["reason"], message=row["message"])
        for kind, row in zip(kinds, rows, strict=True)
    }


async def upsert_verdict(
    connection: Connection, campaign_id: str, inputs_key: str, verdict: Withheld, now: datetime
) -> None:
    """Keep what the data said, in place of what it said of earlier inputs."""
    await connection.execute(
        STATEMENTS["upsert_verdict"].sql,
        campaign_id,
        verdict.type.value,
        inputs_key,
        verdict.reason,
        verdict.message,
        now,
    )
