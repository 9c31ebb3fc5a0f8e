"""Use case that ranks campaigns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from services.analytics.domain.metrics import DateRange
from services.analytics.domain.periods import EARLIEST_DAY, LATEST_DAY, MAXIMUM_DAYS, day_of, day_starts_at
from services.analytics.domain.ranking import (
    Ranking,
    RankingMetric,
    parse_metric,
    rank_campaigns,
    settle_limit,
    settle_minimum_volume,
)
from services.analytics.domain.retention import check_unsealed
from services.analytics.store import ranking as store
from services.analytics.store import retention as retention_store
from services.common.database import Database
from services.common.errors import FieldViolation, InvalidArgumentError, invalid_field

WINDOW_DAYS = 30
"""Days of the window whose sums are kept, and the default."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class RankingQuery:
    """What to rank by, and which days; None and the empty text are unset."""

    metric: str = ""
    limit: int | None = None
    days: int | None = None
    as_of: datetime | None = None
    minimum_volume: int | None = None
    currency_code: str = ""


class RankingOperations:
    """Ranks campaigns; every answer comes from one statement, so from one snapshot.

    Args:
        database: where the rollups live.
        zone: the reporting time zone.
        clock: the present, aware.
    """

    def __init__(self, database: Database, *, zone: ZoneInfo, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._zone = zone
        self._clock = clock

    async def list_top_campaigns(self, query: RankingQuery) -> Ranking:
        """Return the best campaigns by a metric, ties by campaign_id.

        Raises:
            InvalidArgumentError: an unknown metric, something out of its bounds, or money of several
                currencies (CURRENCY_REQUIRED).
        """
        metric = parse_metric(query.metric)
        limit = settle_limit(query.limit)
        minimum = settle_minimum_volume(metric, query.minimum_volume)
        days = self._resolve_days(query)
        if metric.name == "user_conversion_rate":
            top = await self._rank_by_users(days, minimum, query.currency_code, limit)
        else:
            top = await self._rank(metric, days, minimum, query.currency_code, limit)
        if metric.is_money and not query.currency_code:
            _check_one_currency(metric, top.currencies)
        return rank_campaigns(metric, top.windows[:limit], date_range=days, minimum_volume=minimum)

    def _resolve_days(self, query: RankingQuery) -> DateRange:
        days = WINDOW_DAYS if query.days is None else query.days
        if not 1 <= days <= MAXIMUM_DAYS:
            raise invalid_field("days", f"must be from 1 to {MAXIMUM_DAYS}", "VALUE_OUT_OF_RANGE")
        as_of = query.as_of or self._clock()
        if not EARLIEST_DAY <= as_of.date() <= LATEST_DAY:
            raise invalid_field("as_of", f"must be from {EARLIEST_DAY} to {LATEST_DAY}", "TIME_OUT_OF_RANGE")
        end = day_of(as_of, self._zone)
        return DateRange(start=end - (days - 1) * _DAY, end=end)

    async def _rank(
        self, metric: RankingMetric, days: DateRange, minimum: int, currency_code: str, limit: int
    ) -> store.Top:
        """Ask the window that is kept for its usual question, and the days where it has no answer."""
        async with self._database.acquire() as connection:
            if (
                days.end - days.start == (WINDOW_DAYS - 1) * _DAY
                and minimum == metric.minimum_volume
                and limit <= store.HOT_LIMIT
            ):
                top = await store.list_top_of_last_30_days(
                    connection, metric.name, end=days.end, currency_code=currency_code
                )
                if top.windows:
                    return top
            return await store.rank_campaigns(
                connection,
                metric.name,
                start=days.start,
                end=days.end,
                minimum_volume=minimum,
                currency_code=currency_code,
                limit=limit,
            )

    async def _rank_by_users(
        self, days: DateRange, minimum: int, currency_code: str, limit: int
    ) -> store.Top:
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            check_unsealed(days.start, await retention_store.fetch_sealed_through(connection), field="days")
            return await store.rank_campaigns_by_users(
                connection,
                start=days.start,
                end=days.end,
                start_at=day_starts_at(days.start, self._zone),
                end_at=day_starts_at(days.end + _DAY, self._zone),
                minimum_volume=minimum,
                currency_code=currency_code,
                limit=limit,
            )


def _check_one_currency(metric: RankingMetric, currencies: Sequence[str]) -> None:
    if len(currencies) > 1:
        raise InvalidArgumentError(
            f"{metric.name} is money, and campaigns of {', '.join(currencies)} took part: name one of them",
            reason="CURRENCY_REQUIRED",
            violations=[
                FieldViolation(
                    field="currency_code",
                    description=f"is required: one of {', '.join(currencies)}",
                    reason="CURRENCY_REQUIRED",
                )
            ],
            metadata={"currencies": ",".join(currencies)},
        )
