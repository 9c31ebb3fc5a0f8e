"""Statements of what applied recommendations and ended A/B tests did."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.recommendations.outcomes import DayCounts, Outcome, OutcomeKey, OutcomeSource
from services.optimizer.domain.recommendations.recommendations import Recommendation, RecommendationType
from services.optimizer.store.outcome_documents import (
    outcome_to_documents,
    promise_from_document,
    worth_from_document,
)
from services.optimizer.store.recommendations import recommendation_from_row
from services.optimizer.store.statements import STATEMENTS, Connection, Record, fetch_required


@dataclass(frozen=True, kw_only=True)
class EndedTest:
    """A variant of an ended A/B test against its control, with the lift that the test found."""

    test_id: str
    group_name: str
    campaign_id: str
    control_campaign_id: str
    started_at: datetime
    ended_at: datetime
    relative_lift: float | None
    relative_lift_lower: float | None
    relative_lift_upper: float | None


async def list_unmeasured(
    connection: Connection, today: datetime, limit: int
) -> Sequence[tuple[Recommendation, datetime]]:
    """Return applied recommendations whose outcome is not final nor of today, and since when they hold.

    Whole days are counted, so that nothing new is to be seen twice a day.
    """
    rows = await connection.fetch(STATEMENTS["list_unmeasured_optimizations"].sql, limit, today)
    return [(recommendation_from_row(row), row["applied_at"]) for row in rows]


async def note_measured(
    connection: Connection, optimization_id: str, now: datetime, *, is_final: bool
) -> None:
    """Keep that a recommendation's outcome was looked at: today's is not listed again, a final one never."""
    await connection.execute(STATEMENTS["note_measured_optimization"].sql, optimization_id, now, is_final)


async def list_campaign_days(
    connection: Connection, campaign_id: str, first_day: date, end_day: date, offer_micros: int | None = None
) -> Sequence[DayCounts]:
    """Return what a campaign did by day in [first_day, end_day), at one offer or (None) at any."""
    rows = await connection.fetch(
        STATEMENTS["list_campaign_days"].sql, campaign_id, first_day, end_day, offer_micros
    )
    return [
        DayCounts(impressions=row["impressions"], views=row["views"], conversions=row["conversions"])
        for row in rows
    ]


async def list_unkept_tests(connection: Connection, limit: int) -> Sequence[EndedTest]:
    """Return comparisons of ended A/B tests that no outcome was kept of."""
    rows = await connection.fetch(STATEMENTS["list_unkept_tests"].sql, limit)
    return [EndedTest(**dict(row)) for row in rows]


async def fetch_sent_offer(
    connection: Connection, campaign_id: str, first_day: date, end_day: date
) -> int | None:
    """Return the offer that a campaign was viewed with most in the days [first_day, end_day)."""
    row = await fetch_required(connection, "fetch_sent_offer", campaign_id, first_day, end_day)
    offer: int | None = row["offer_micros"]
    return offer


async def upsert_outcome(connection: Connection, outcome: Outcome) -> None:
    """Keep an outcome, or what was counted since; a final one stays as it is."""
    is_own = outcome.source is OutcomeSource.RECOMMENDATION
    await connection.execute(
        STATEMENTS["upsert_offer_outcome"].sql,
        outcome.history_id,
        outcome.campaign_id,
        outcome.source_id if is_own else None,
        outcome.source.value,
        outcome.source_id if is_own else f"{outcome.source_id}/{outcome.choice}",
        outcome.type.value,
        outcome.choice,
        outcome.previous_offer_micros,
        outcome.offer_micros,
        outcome.predicted_rate,
        *_ends(outcome.predicted_interval),
        outcome.expected_effect,
        outcome.observed_views,
        outcome.observed_conversions,
        *_ends(outcome.observed_interval),
        outcome.previous_views,
        outcome.previous_conversions,
        outcome.effect,
        *_ends(outcome.effect_interval),
        outcome.applied_at,
        outcome.measured_at,
        outcome.window_ends_at,
        outcome.is_final,
        *_ends(outcome.previous_interval),
        *outcome_to_documents(outcome),
    )


async def list_outcomes(
    connection: Connection, campaign_id: str, after: OutcomeKey | None, limit: int
) -> Sequence[Outcome]:
    """Return outcomes after a place in the list, of one campaign or (empty) of every one."""
    place = (None, None) if after is None else (after.applied_at, after.history_id)
    rows = (
        await connection.fetch(STATEMENTS["list_campaign_offer_outcomes"].sql, campaign_id, *place, limit)
        if campaign_id
        else await connection.fetch(STATEMENTS["list_offer_outcomes"].sql, *place, limit)
    )
    return [_outcome(row) for row in rows]


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval.lower, interval.upper)


def _interval(row: Record, prefix: str) -> Interval | None:
    lower, upper = row[f"{prefix}_lower"], row[f"{prefix}_upper"]
    return None if lower is None or upper is None else Interval(lower=lower, upper=upper)


def _outcome(row: Record) -> Outcome:
    source = OutcomeSource(row["source"])
    source_id: str = row["source_id"]
    if source is OutcomeSource.AB_TEST:
        source_id = source_id.removesuffix(f"/{row['choice']}")
    return Outcome(
        history_id=str(row["history_id"]),
        campaign_id=row["campaign_id"],
        source=source,
        source_id=source_id,
        type=RecommendationType(row["optimization_type"]),
        choice=row["choice"],
        previous_offer_micros=row["previous_offer_micros"],
        offer_micros=row["offer_micros"],
        predicted_rate=row["predicted_conversion_rate"],
        predicted_interval=_interval(row, "predicted"),
        expected_effect=row["expected_effect"],
        observed_views=row["observed_views"],
        observed_conversions=row["observed_conversions"],
        observed_interval=_interval(row, "observed"),
        previous_views=row["previous_views"],
        previous_conversions=row["previous_conversions"],
        previous_interval=_interval(row, "previous"),
        effect=row["relative_lift"],
        effect_interval=_interval(row, "relative_lift"),
        applied_at=row["applied_at"],
        measured_at=row["measured_at"],
        window_ends_at=row["window_ends_at"],
        is_final=row["is_final"],
        worth=worth_from_document(row["worth"]),
        concurrent=worth_from_document(row["concurrent_worth"]),
        promise=promise_from_document(row["promise"]),
    )
