"""Use cases of forecasts: answer them, and say when they must be made anew."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from services.analytics.domain.forecasts import (
    LONGEST_HISTORY_DAYS,
    METRICS,
    MINIMUM_HISTORY_DAYS,
    PORTFOLIO,
    Forecast,
    History,
    find_reason,
    has_changed,
    last_whole_day,
)
from services.analytics.domain.periods import day_of
from services.analytics.operations.ranges import fetch_bounds
from services.analytics.store import forecasts as store
from services.common.database import Connection, Database
from services.common.errors import FailedPreconditionError, invalid_field
from services.common.jobs import Every, Job


class Forecaster(Protocol):
    """Makes all forecasts anew, in a process of its own."""

    async def run(self) -> str:
        """Return what was made, in one line."""


class ForecastOperations:
    """Answers from the forecasts that the job made last, each answer from one snapshot.

    Args:
        database: where they live.
        zone: the reporting time zone.
        clock: the present, aware.
    """

    def __init__(self, database: Database, *, zone: ZoneInfo, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._zone = zone
        self._clock = clock

    async def get_campaign_forecast(self, campaign_id: str, days: int) -> Forecast:
        """Return what is expected of a campaign.

        Raises:
            NotFoundError: CAMPAIGN_UNKNOWN.
            FailedPreconditionError: DATA_INSUFFICIENT, or FORECAST_NOT_MADE.
        """
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            bounds = await fetch_bounds(connection, campaign_id)
            currency = bounds.currency_code or ""
            forecast = await self._read(connection, campaign_id, currency, days)
        if forecast is None:
            first = bounds.first_day
            known = 0 if first is None else (self._last_day() - first).days + 1
            raise _not_made(f"campaign '{campaign_id}'", max(known, 0))
        return forecast

    async def get_portfolio_forecast(self, currency_code: str, days: int) -> Forecast:
        """Return what is expected of all campaigns of a currency (empty: the only one) together.

        Raises:
            InvalidArgumentError: CURRENCY_REQUIRED: there are several, and none is named.
            FailedPreconditionError: DATA_INSUFFICIENT, or FORECAST_NOT_MADE.
        """
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            currency = currency_code or await _only_currency(connection)
            forecast = await self._read(connection, PORTFOLIO, currency, days)
            if forecast is not None:
                return forecast
            first = await store.fetch_portfolio_first_day(connection, currency)
        known = 0 if first is None else (self._last_day() - first).days + 1
        raise _not_made(f"the portfolio in {currency}" if currency else "the portfolio", max(known, 0))

    async def _read(
        self, connection: Connection, campaign_id: str, currency: str, days: int
    ) -> Forecast | None:
        metrics = await store.list_forecasts(connection, campaign_id, currency, days)
        if not metrics:
            return None
        return Forecast(
            campaign_id=campaign_id,
            currency_code=currency,
            metrics=sorted(metrics, key=lambda made: METRICS.index(made.metric)),
            is_stale=metrics[0].last_day < self._last_day(),
        )

    def _last_day(self) -> date:
        return last_whole_day(day_of(self._clock(), self._zone))


class ForecastKeeper:
    """Has forecasts made where they are missing or their history has grown; the job calls it often.

    While a history still grows from look to look (an import runs), nothing is made.

    Args:
        database: where history and forecasts live.
        forecaster: makes all of them.
        zone: the reporting time zone.
        clock: the present, aware.
    """

    def __init__(
        self,
        database: Database,
        forecaster: Forecaster,
        *,
        zone: ZoneInfo,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._forecaster = forecaster
        self._zone = zone
        self._clock = clock
        self._seen: Mapping[str, History] = {}

    async def keep(self) -> str:
        """Make the forecasts if they are due and the history stands still; return what was done."""
        last_day = last_whole_day(day_of(self._clock(), self._zone))
        start = last_day - timedelta(days=LONGEST_HISTORY_DAYS - 1)
        async with self._database.acquire() as connection:
            known = await store.list_known_histories(connection, start, last_day)
            made = await store.list_portfolio_forecasts(connection)
        seen, self._seen = self._seen, known
        reason = find_reason(last_day, known, made)
        if reason is None:
            return f"nothing to do: the forecasts are of {last_day}" if made else "too few days to forecast"
        if not _stands_still(seen, known):
            return f"waits for the history to stand still: {reason}"
        return f"{await self._forecaster.run()} ({reason})"


def _stands_still(seen: Mapping[str, History], known: Mapping[str, History]) -> bool:
    return seen.keys() == known.keys() and not any(
        has_changed(seen[currency].conversions, history.conversions) for currency, history in known.items()
    )


def build_forecast_job(keeper: ForecastKeeper, *, seconds: float) -> Job:
    """Return the job that looks every so many seconds whether forecasts are to be made anew."""
    return Job(name="forecast", schedule=Every(seconds=seconds), run=lambda _context: keeper.keep())


async def _only_currency(connection: Connection) -> str:
    currencies = await store.list_portfolio_currencies(connection)
    if len(currencies) > 1:
        raise invalid_field("currency_code", f"must be one of {', '.join(currencies)}", "CURRENCY_REQUIRED")
    return currencies[0] if currencies else ""


def _not_made(subject: str, days: int) -> FailedPreconditionError:
    """Return why there is no forecast: too few days, or none was made yet."""
    if days < MINIMUM_HISTORY_DAYS:
        return FailedPreconditionError(
            f"{subject} has {days} whole days of history; a forecast needs {MINIMUM_HISTORY_DAYS}",
            reason="DATA_INSUFFICIENT",
            metadata={"days": str(days), "required_days": str(MINIMUM_HISTORY_DAYS)},
        )
    return FailedPreconditionError(
        f"no forecast of {subject} was made yet; the job 'forecast' makes it", reason="FORECAST_NOT_MADE"
    )
