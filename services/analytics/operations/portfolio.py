"""Use case that answers what all campaigns did together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.analytics.domain.metrics import Counts, DateRange
from services.analytics.domain.periods import (
    EARLIEST_DAY,
    LATEST_DAY,
    MAXIMUM_DAYS,
    check_range,
    day_of,
    day_starts_at,
    period_before,
    same_time_before,
)
from services.analytics.domain.portfolio import (
    CampaignSums,
    Portfolio,
    PortfolioDay,
    measure_portfolio,
)
from services.analytics.store import portfolio as store
from services.common.database import Connection, Database
from services.common.errors import invalid_field

DEFAULT_PORTFOLIO_DAYS = 30
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class PortfolioQuery:
    """Which days of the portfolio: `days` that end with `as_of`, or from `start` to `end`; None is unset."""

    days: int | None = None
    as_of: datetime | None = None
    start: date | None = None
    end: date | None = None


class PortfolioOperations:
    """Answers from rollups; every answer comes from one snapshot of the database.

    Args:
        database: where the rollups live.
        zone: the reporting time zone.
        clock: the present, aware.
    """

    def __init__(self, database: Database, *, zone: ZoneInfo, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._zone = zone
        self._clock = clock

    async def get_portfolio_performance(self, query: PortfolioQuery) -> Portfolio:
        """Return what all campaigns did together, against the range before.

        While the last day is not over, the last day before counts up to the same time of day only.

        Raises:
            InvalidArgumentError: fields that exclude each other, or an absurd range.
        """
        days = self._resolve_range(query)
        before = period_before(days)
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            if query.as_of is None:
                counted = await store.list_portfolio_days(connection, days.start, days.end)
                campaigns = await store.list_portfolio_campaigns(connection, days.start, days.end)
            else:
                counted, campaigns = await self._count_until(connection, days, query.as_of)
            moment = same_time_before(query.as_of or self._clock(), days, self._zone)
            if moment is None:
                counted_before = await store.list_portfolio_days(connection, before.start, before.end)
            else:
                counted_before, _ = await self._count_until(connection, before, moment)
        return measure_portfolio(
            date_range=days,
            days=counted,
            campaigns=campaigns,
            range_before=before,
            days_before=counted_before,
        )

    def _resolve_range(self, query: PortfolioQuery) -> DateRange:
        if query.start is not None or query.end is not None:
            if query.days is not None or query.as_of is not None:
                raise invalid_field(
                    "start_date", "must not stand together with days or as_of", "FIELDS_CONFLICT"
                )
            if query.start is None or query.end is None:
                missing = "start_date" if query.start is None else "end_date"
                raise invalid_field(missing, "is required where the other end is given", "FIELD_REQUIRED")
            check_range(query.start, query.end)
            return DateRange(start=query.start, end=query.end)
        days = DEFAULT_PORTFOLIO_DAYS if query.days is None else query.days
        if not 1 <= days <= MAXIMUM_DAYS:
            raise invalid_field("days", f"must be from 1 to {MAXIMUM_DAYS}", "VALUE_OUT_OF_RANGE")
        as_of = query.as_of or self._clock()
        if not EARLIEST_DAY <= as_of.date() <= LATEST_DAY:
            raise invalid_field("as_of", f"must be from {EARLIEST_DAY} to {LATEST_DAY}", "TIME_OUT_OF_RANGE")
        end = day_of(as_of, self._zone)
        return DateRange(start=end - (days - 1) * _DAY, end=end)

    async def _count_until(
        self, connection: Connection, days: DateRange, as_of: datetime
    ) -> tuple[Sequence[PortfolioDay], Sequence[CampaignSums]]:
        """Count whole days before the last from rollups, and of the last day what is not after `as_of`."""
        last_day = await store.list_partial_day(connection, day_starts_at(days.end, self._zone), as_of)
        counted = [_to_portfolio_day(part) for part in last_day]
        campaigns = {
            part.campaign_id: CampaignSums(
                campaign_id=part.campaign_id, currency_code=part.currency_code, counts=part.counts
            )
            for part in last_day
            if part.campaign_id is not None
        }
        if days.start < days.end:
            counted += await store.list_portfolio_days(connection, days.start, days.end - _DAY)
            for sums in await store.list_portfolio_campaigns(connection, days.start, days.end - _DAY):
                last = campaigns.get(sums.campaign_id)
                counts = sums.counts + last.counts if last else sums.counts
                campaigns[sums.campaign_id] = replace(sums, counts=counts)
        return counted, list(campaigns.values())


def _to_portfolio_day(part: store.PartialDay) -> PortfolioDay:
    if part.campaign_id is not None:
        return PortfolioDay(
            currency_code=part.currency_code, counts=part.counts, purchases=0, purchase_revenue_micros=0
        )
    return PortfolioDay(
        currency_code=part.currency_code,
        counts=Counts(cost_micros=part.counts.cost_micros),
        purchases=part.counts.conversions,
        purchase_revenue_micros=part.counts.revenue_micros,
    )
