"""Statements of attribution: what a run reads and writes, and what answers read."""

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from services.analytics.domain.metrics import DateRange
from services.analytics.store.statements import STATEMENTS, Connection

_DAILY = (
    "campaign_id",
    "day",
    "model",
    "currency_code",
    "microconversions",
    "revenue_micros",
    "microconversions_without_group",
)
_DAYS = (
    "day",
    "currency_code",
    "conversions",
    "direct_conversions",
    "touched_purchases",
    "revenue_micros",
    "conversions_without_group",
)


@dataclass(frozen=True, kw_only=True)
class AttributionState:
    """What was counted up to, under which window and reporting zone."""

    received_before: datetime
    lookback_days: int
    reporting_time_zone: str


@dataclass(frozen=True, kw_only=True)
class ChangedDay:
    """A day of which touches, conversions or (`is_refund`) refunds were received."""

    day: date
    is_touch: bool
    is_refund: bool


@dataclass(frozen=True, kw_only=True)
class NumberedCampaign:
    """A campaign and its numbers in what `copy_moments` sends; both count from 1."""

    campaign_id: str
    currency_code: str
    currency_number: int
    campaign_number: int


@dataclass(frozen=True, kw_only=True)
class CreditRow:
    """One model's credit of a campaign on a day; conversions in millionths."""

    campaign_id: str
    day: date
    model: str
    currency_code: str
    microconversions: int
    revenue_micros: int
    microconversions_without_group: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class DividedDay:
    """What was divided on a day in a currency."""

    day: date
    currency_code: str
    conversions: int
    direct_conversions: int
    touched_purchases: int
    revenue_micros: int
    conversions_without_group: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Divided:
    """What was divided over some days."""

    conversions: int
    direct_conversions: int
    touched_purchases: int
    revenue_micros: int


@dataclass(frozen=True, kw_only=True)
class CreditSums:
    """Credits over some days; conversions in millionths."""

    microconversions: int = 0
    revenue_micros: int = 0


async def lock_attribution(connection: Connection) -> None:
    """Wait until no other run writes, until the end of the transaction."""
    await connection.execute(STATEMENTS["lock_attribution"].sql)


async def fetch_state(connection: Connection) -> AttributionState | None:
    """Return what was counted up to; None before the first run."""
    row = await connection.fetchrow(STATEMENTS["fetch_attribution_state"].sql)
    return AttributionState(**row) if row else None


async def upsert_state(connection: Connection, state: AttributionState) -> None:
    """Keep what was looked through."""
    await connection.execute(
        STATEMENTS["upsert_attribution_state"].sql,
        state.received_before,
        state.lookback_days,
        state.reporting_time_zone,
    )


async def fetch_bounds(connection: Connection) -> DateRange | None:
    """Return the days from the first to the last event; None before the first."""
    row = await connection.fetchrow(STATEMENTS["fetch_attribution_bounds"].sql)
    if row is None or row["first_day"] is None:
        return None
    return DateRange(start=row["first_day"], end=row["last_day"])


async def list_changed_days(connection: Connection, received_from: datetime) -> Sequence[ChangedDay]:
    """Return the days that depend on what was received since a time."""
    rows = await connection.fetch(STATEMENTS["list_changed_attribution_days"].sql, received_from)
    return [ChangedDay(**row) for row in rows]


async def list_turned_campaigns(connection: Connection, received_from: datetime) -> Sequence[DateRange]:
    """Return the days of campaigns whose deliveries stopped being their touches since a time."""
    rows = await connection.fetch(STATEMENTS["list_turned_campaigns"].sql, received_from)
    return [DateRange(start=row["first_day"], end=row["last_day"]) for row in rows]


async def mark_months(connection: Connection, months: Iterable[date]) -> None:
    """Mark months, by their first days, as stale."""
    await connection.execute(STATEMENTS["mark_attribution_months"].sql, sorted(months))


async def list_counted_months(connection: Connection) -> Mapping[date, datetime | None]:
    """Return the months that were ever marked, and when they were counted last."""
    rows = await connection.fetch(STATEMENTS["list_attribution_months"].sql)
    return {row["month"]: row["counted_at"] for row in rows}


async def list_stale_months(connection: Connection) -> Sequence[date]:
    """Return the months that wait to be counted, the latest first."""
    rows = await connection.fetch(STATEMENTS["list_stale_attribution_months"].sql)
    return [row["month"] for row in rows]


async def finish_month(connection: Connection, month: date, counted_at: datetime) -> None:
    """Say that a month is counted with every event received before a time."""
    await connection.execute(STATEMENTS["finish_attribution_month"].sql, month, counted_at)


async def list_campaigns(connection: Connection) -> Sequence[NumberedCampaign]:
    """Return the campaigns that have a currency, by number."""
    rows = await connection.fetch(STATEMENTS["list_attribution_campaigns"].sql)
    return [NumberedCampaign(**row) for row in rows]


async def copy_moments(
    connection: Connection,
    *,
    touches_from: datetime,
    conversions_from: datetime,
    touches_before: datetime,
    conversions_before: datetime,
    groups: int,
    receive: Callable[[bytes], Coroutine[None, None, None]],
) -> None:
    """Send touches and conversions of users in order to `receive`, in PostgreSQL's binary COPY format."""
    await connection.copy_from_query(
        STATEMENTS["copy_attribution_moments"].sql,
        touches_from,
        conversions_from,
        touches_before,
        conversions_before,
        groups,
        output=receive,
        format="binary",
    )


async def replace_month(
    connection: Connection, days: DateRange, credits_: Iterable[CreditRow], divided: Iterable[DividedDay]
) -> None:
    """Replace everything that is kept of some days."""
    await connection.execute(STATEMENTS["open_attribution"].sql)
    for table, columns, rows in (
        ("staged_attribution_daily", _DAILY, credits_),
        ("staged_attribution_days", _DAYS, divided),
    ):
        await connection.copy_records_to_table(
            table,
            records=(tuple(getattr(row, column) for column in columns) for row in rows),
            columns=columns,
            schema_name="pg_temp",
        )
    await connection.execute(STATEMENTS["delete_gone_attribution"].sql, days.start, days.end)
    await connection.execute(STATEMENTS["merge_attribution"].sql)
    await connection.execute(STATEMENTS["delete_attribution_days"].sql, days.start, days.end)
    await connection.execute(STATEMENTS["insert_attribution_days"].sql)


async def fetch_as_of(connection: Connection, days: DateRange) -> tuple[datetime | None, int | None]:
    """Return before which time every event received is credited on some days, and the window in days.

    Both None before the first run; the time None where some of the days were never counted.
    """
    row = await connection.fetchrow(STATEMENTS["fetch_attribution_as_of"].sql, days.start, days.end)
    assert row is not None, "an aggregate has a row"
    return row["counted_before"], row["lookback_days"]


async def list_campaign_credits(
    connection: Connection, campaign_id: str, days: DateRange, currency_code: str
) -> Mapping[str, CreditSums]:
    """Return a campaign's credits by model, `counted` and `direct` among them."""
    rows = await connection.fetch(
        STATEMENTS["list_campaign_credits"].sql, campaign_id, days.start, days.end, currency_code
    )
    return {
        row["model"]: CreditSums(
            microconversions=row["microconversions"], revenue_micros=row["revenue_micros"]
        )
        for row in rows
    }


async def list_credits_without_groups(
    connection: Connection,
    campaign_ids: Sequence[str],
    days: DateRange,
    currency_code: str,
    models: Sequence[str],
) -> Mapping[tuple[str, str], Sequence[float]]:
    """Return micro-conversions by campaign and model, each group of users left out in turn."""
    rows = await connection.fetch(
        STATEMENTS["list_credits_without_groups"].sql,
        campaign_ids,
        days.start,
        days.end,
        currency_code,
        models,
    )
    return {(row["campaign_id"], row["model"]): row["microconversions"] for row in rows}


async def fetch_divided(connection: Connection, days: DateRange, currency_code: str) -> Divided:
    """Return what was divided."""
    row = await connection.fetchrow(STATEMENTS["fetch_attributed"].sql, days.start, days.end, currency_code)
    assert row is not None, "an aggregate has a row"
    return Divided(**row)


async def list_divided_without_groups(
    connection: Connection, days: DateRange, currency_code: str
) -> Sequence[float]:
    """Return the conversions that were divided, each group of users left out in turn."""
    row = await connection.fetchrow(
        STATEMENTS["fetch_attributed_without_groups"].sql, days.start, days.end, currency_code
    )
    assert row is not None, "an aggregate has a row"
    return [conversions or 0.0 for conversions in row["conversions"]]


async def list_currencies(connection: Connection, days: DateRange) -> Sequence[str]:
    """Return the currencies in which something was divided."""
    rows = await connection.fetch(STATEMENTS["list_attribution_currencies"].sql, days.start, days.end)
    return [row["currency_code"] for row in rows]


async def fetch_credit_sums(
    connection: Connection, model: str, days: DateRange, currency_code: str
) -> CreditSums:
    """Return the sum of all campaigns' credits by a model."""
    row = await connection.fetchrow(
        STATEMENTS["fetch_credit_sums"].sql, model, days.start, days.end, currency_code
    )
    assert row is not None, "an aggregate has a row"
    return CreditSums(**row)


async def list_portfolio_credits(
    connection: Connection,
    *,
    model: str,
    days: DateRange,
    currency_code: str,
    after: tuple[int, str] | None,
    limit: int,
) -> Sequence[tuple[str, CreditSums]]:
    """Return campaigns with their credits, the most conversions first, behind the last one of a page."""
    micro, campaign_id = after or (None, None)
    rows = await connection.fetch(
        STATEMENTS["list_portfolio_credits"].sql,
        model,
        days.start,
        days.end,
        currency_code,
        micro,
        campaign_id,
        limit,
    )
    return [
        (
            row["campaign_id"],
            CreditSums(microconversions=row["microconversions"], revenue_micros=row["revenue_micros"]),
        )
        for row in rows
    ]
