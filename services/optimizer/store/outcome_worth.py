"""Statements of what campaigns earned before and after a change."""

from dataclasses import dataclass
from datetime import datetime

from services.optimizer.domain.recommendations.outcomes import EffectMetric
from services.optimizer.domain.recommendations.worth import EarningMoments, Level, Moments
from services.optimizer.store.statements import STATEMENTS, Connection

_IMPRESSION, _VIEW = 1, 2


@dataclass(frozen=True, kw_only=True)
class Side:
    """What is looked at before or after: a campaign from one midnight of the reporting zone to another.

    `offer_micros`: at one offer, or (None) at any.
    """

    campaign_id: str
    first_at: datetime
    end_at: datetime
    offer_micros: int | None = None


async def fetch_earning_moments(
    connection: Connection, before: Side, after: Side, *, zone: str, metric: EffectMetric, by_user: bool
) -> EarningMoments | None:
    """Return what happened on both sides; None for nothing. Without `by_user` from the days' sums alone."""
    sides = (before, after)
    rows = await connection.fetch(
        STATEMENTS["list_earning_moments"].sql,
        [0, 1],
        [side.campaign_id for side in sides],
        [side.first_at for side in sides],
        [side.end_at for side in sides],
        [side.offer_micros for side in sides],
        zone,
        _IMPRESSION if metric is EffectMetric.CONVERSIONS_PER_IMPRESSION else _VIEW,
        by_user,
    )
    if not rows:
        return None
    levels = {Level(row["level"]): Moments.of(row["clusters"], row["sums"], row["products"]) for row in rows}
    first = rows[0]
    return EarningMoments(
        levels=levels,
        conversions=(first["conversions"][0], first["conversions"][1]),
        unpriced=(first["unpriced"][0], first["unpriced"][1]),
    )
