"""Measures what was earned before and after a change: from events where all are kept, else from days."""

from dataclasses import dataclass, replace
from datetime import date, datetime, time
from typing import Final
from zoneinfo import ZoneInfo

from services.common.database import Connection, savepoint
from services.common.errors import DeadlineExceededError
from services.optimizer.domain.recommendations.outcomes import EffectMetric
from services.optimizer.domain.recommendations.terms import Terms
from services.optimizer.domain.recommendations.worth import EarningMoments, Worth, measure_worth
from services.optimizer.store.outcome_worth import Side, fetch_earning_moments

MOST_TRIALS: Final = 250_000
"""Views or impressions of both sides up to which events are read, a few seconds; of more, days alone tell."""
CONCURRENT_VIEWS: Final = 100
"""Views of the previous offer on the days of the new one from which on they are compared with."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """The days [first_day, end_day) of a campaign, at one offer or (None) at any."""

    campaign_id: str
    first_day: date
    end_day: date
    offer_micros: int | None = None

    def side(self, zone: ZoneInfo) -> Side:
        """Return the span in times."""
        first_at, end_at = (
            datetime.combine(day, time(), tzinfo=zone) for day in (self.first_day, self.end_day)
        )
        return Side(
            campaign_id=self.campaign_id, first_at=first_at, end_at=end_at, offer_micros=self.offer_micros
        )


async def fetch_worth(
    connection: Connection, before: Span, after: Span, *, zone: ZoneInfo, metric: EffectMetric, terms: Terms
) -> Worth | None:
    """Return what was earned by the terms of a recommendation; None where nothing happened on either side."""
    moments = await _fetch_moments(connection, before, after, zone, metric)
    if moments is None:
        return None
    worth = measure_worth(
        moments, margins=(terms.gross_margin_rate, terms.gross_margin_rate), currency_code=terms.currency_code
    )
    return replace(
        worth, predicted_profit=terms.predicted_profit, previous_predicted_profit=terms.previous_profit
    )


async def fetch_concurrent_worth(
    connection: Connection, previous: Span, after: Span, *, zone: ZoneInfo, terms: Terms
) -> Worth | None:
    """Return what both offers earned on the same days; None where the previous one was hardly sent."""
    moments = await _fetch_moments(
        connection, previous, after, zone, EffectMetric.CONVERSION_RATE, fewest=CONCURRENT_VIEWS
    )
    if moments is None:
        return None
    margins = (terms.gross_margin_rate, terms.gross_margin_rate)
    return measure_worth(moments, margins=margins, currency_code=terms.currency_code)


async def fetch_test_worth(
    connection: Connection, control: Span, variant: Span, *, zone: ZoneInfo, terms: tuple[Terms, Terms]
) -> Worth | None:
    """Return what a test's campaigns earned while it ran; None where they count in different currencies."""
    if terms[0].currency_code != terms[1].currency_code:
        return None
    moments = await _fetch_moments(connection, control, variant, zone, EffectMetric.CONVERSION_RATE)
    if moments is None:
        return None
    return measure_worth(
        moments,
        margins=(terms[0].gross_margin_rate, terms[1].gross_margin_rate),
        currency_code=terms[1].currency_code,
    )


async def _fetch_moments(
    connection: Connection,
    before: Span,
    after: Span,
    zone: ZoneInfo,
    metric: EffectMetric,
    *,
    fewest: int = 0,
) -> EarningMoments | None:
    """Return sums by user and day where all that the days' sums hold is kept as events, else by day alone.

    By day alone too where the events cannot be read in time: those of other offers count for that as well.
    None for nothing on both sides, or fewer than `fewest` trials on one.
    """
    sides = before.side(zone), after.side(zone)
    by_day = await fetch_earning_moments(connection, *sides, zone=zone.key, metric=metric, by_user=False)
    if by_day is None or min(by_day.trials) < fewest:
        return None
    if sum(by_day.trials) > MOST_TRIALS:
        return by_day
    try:
        async with savepoint(connection):
            by_user = await fetch_earning_moments(
                connection, *sides, zone=zone.key, metric=metric, by_user=True
            )
    except DeadlineExceededError:
        return by_day
    if by_user is None:
        return by_day
    is_whole = by_day.trials == by_user.trials and by_day.conversions == by_user.conversions
    return by_user if is_whole else by_day
