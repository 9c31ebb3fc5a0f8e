"""Use case that answers what all campaigns did together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.analytics.domain.metrics import DateRange
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
from services.analytics.domain.portfolio import CampaignCount, Portfolio, measure_portfolio
from services.analytics.domain.retention import check_unsealed
from services.analytics.operations.portfolio_users import PortfolioUsers
from services.analytics.store import portfolio as store
from services.analytics.store import retention as retention_store
from services.common.database import Database
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
        users: the sums over the users of all campaigns.
    """

    def __init__(
        self,
        database: Database,
        *,
        zone: ZoneInfo,
        clock: Callable[[], datetime],
        users: PortfolioUsers,
    ) -> None:
        self._database = database
        self._zone = zone
        self._clock = clock
        self._users = users

    async def get_portfolio_performance(self, query: PortfolioQuery) -> Portfolio:
        """Return what all campaigns did together, against the range before.

        While the last day is not over, the last day before counts up to the same time of day only; where its
        events are kept as sums, up to the hour of that time.

        Raises:
            InvalidArgumentError: fields that exclude each other, or an absurd range.
            FailedPreconditionError: EVENTS_SEALED, the events of the day of `as_of` are kept as sums only.
        """
        days = self._resolve_range(query)
        before = period_before(days)
        sides, campaigns = await self._read(
            self._span(days, query.as_of),
            self._span(before, same_time_before(query.as_of or self._clock(), days, self._zone)),
        )
        if query.as_of is not None:
            async with self._database.acquire() as connection:
                sealed = await retention_store.fetch_sealed_through(connection)
            check_unsealed(days.end, sealed, field="as_of")
        return measure_portfolio(
            date_range=days,
            days=sides.now,
            campaigns=campaigns,
            range_before=before,
            days_before=sides.before,
            users=await self._users.read(),
        )

    async def _read(
        self, now: store.Span, before: store.Span
    ) -> tuple[store.PortfolioSides, Sequence[CampaignCount]]:
        """Return both spans and the campaigns of the first, by one statement where the 30 days are ready."""
        if now.moment is None and (now.last_day - now.first_day).days == DEFAULT_PORTFOLIO_DAYS - 1:
            async with self._database.acquire() as connection:
                sides = await store.fetch_portfolio_sides(connection, now, before, is_30_days=True)
            if sides.campaigns is not None:
                return sides, sides.campaigns
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            sides = await store.fetch_portfolio_sides(connection, now, before, is_30_days=False)
            return sides, await store.count_campaigns(connection, now)

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

    def _span(self, days: DateRange, moment: datetime | None) -> store.Span:
        """Return all the days, or where there is a moment in the last of them, nothing after it."""
        if moment is None:
            return store.Span(first_day=days.start, last_day=days.end)
        return store.Span(
            first_day=days.start,
            last_day=days.end - _DAY,
            day_starts_at=day_starts_at(days.end, self._zone),
            moment=moment,
        )
