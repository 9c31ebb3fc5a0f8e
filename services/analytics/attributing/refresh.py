"""One run of attribution: finds the months whose credits changed, and counts each again from the events.

A month is counted as a whole, because `markov` needs all its journeys, and in one transaction of its own: a
run that breaks off leaves whole months, and marks that say which are left. Which months those are follows
from what was received since the last run, by the days of the events, late ones included.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.analytics.attributing.reading import MomentReader
from services.analytics.domain.attribution_months import (
    find_stale_months,
    is_countable,
    last_day_of,
    list_months,
    month_after,
)
from services.analytics.domain.credits import GROUPS, Credits, MonthCredits, MonthLedger
from services.analytics.domain.metrics import DateRange
from services.analytics.domain.periods import check_counted_zone, day_of, day_starts_at
from services.analytics.store import attribution as store
from services.analytics.store import recount as recount_store
from services.analytics.store import retention as retention_store
from services.analytics.store import settled as settled_store
from services.common.database import Connection, Database

_EPOCH = date(1970, 1, 1)
_DAY = timedelta(days=1)
_SETTLING = timedelta(seconds=2)
"""For so long events are looked at by the next run too: what began to come in just now is not seen yet."""


@dataclass(frozen=True, kw_only=True)
class RefreshSummary:
    """What a run did."""

    months: int
    conversions: int

    def __str__(self) -> str:
        return f"{self.months} months counted, {self.conversions} conversions divided"


class AttributionRefresh:
    """Keeps attribution_daily up to date.

    Args:
        database: where events and credits are.
        zone: the reporting time zone.
        lookback_days: how long before a conversion a touch still counts.
        clock: the present, aware.
        settling: how old events are before no later run looks at them again.
    """

    def __init__(
        self,
        database: Database,
        *,
        zone: ZoneInfo,
        lookback_days: int,
        clock: Callable[[], datetime],
        settling: timedelta = _SETTLING,
    ) -> None:
        self._database = database
        self._zone = zone
        self._lookback_days = lookback_days
        self._clock = clock
        self._settling = settling

    async def run(self) -> RefreshSummary:
        """Count every month whose credits may have changed since the last run."""
        async with self._database.acquire() as connection:
            watermark = (await settled_store.fetch_settled_moment(connection, self._settling)).settled_at
        async with self._database.transaction(isolation="repeatable_read") as connection:
            await self._mark(connection, watermark)
            months = await store.list_stale_months(connection)
        conversions = 0
        for month in months:
            conversions += await self._count(month, watermark)
        return RefreshSummary(months=len(months), conversions=conversions)

    async def _mark(self, connection: Connection, watermark: datetime) -> None:
        """Mark the months that changed, and keep how far it was looked."""
        check_counted_zone(await recount_store.fetch_reporting_time_zone(connection), self._zone)
        state = await store.fetch_state(connection)
        bounds = await store.fetch_bounds(connection)
        today = day_of(self._clock(), self._zone)
        known = state is not None and (
            (state.lookback_days, state.reporting_time_zone) == (self._lookback_days, self._zone.key)
        )
        stale: set[date] = set()
        if bounds is not None:
            last_day = max(bounds.end, today)
            if known and state is not None:
                stale = await self._find_changed(connection, state.received_before, last_day)
            else:
                stale = set(list_months(bounds.start, last_day))
        sealed = await retention_store.fetch_sealed_through(connection)
        counted = await store.list_counted_months(connection)
        await store.mark_months(
            connection,
            [
                month
                for month in stale
                if is_countable(
                    month,
                    was_counted=self._was_counted_whole(month, counted.get(month)),
                    lookback_days=self._lookback_days,
                    sealed_through=sealed,
                )
            ],
        )
        await store.upsert_state(
            connection,
            store.AttributionState(
                received_before=watermark,
                lookback_days=self._lookback_days,
                reporting_time_zone=self._zone.key,
            ),
        )

    def _was_counted_whole(self, month: date, counted_at: datetime | None) -> bool:
        """Return whether a month was over when it was counted; what was counted amid it is not all of it."""
        return counted_at is not None and counted_at >= day_starts_at(month_after(month), self._zone)

    async def _find_changed(
        self, connection: Connection, received_from: datetime, last_day: date
    ) -> set[date]:
        changed = await store.list_changed_days(connection, received_from)
        turned = await store.list_turned_campaigns(connection, received_from)
        return find_stale_months(
            touch_days=[
                *(change.day for change in changed if change.is_touch),
                *_list_month_ends(turned),
            ],
            conversion_days=[
                change.day for change in changed if not change.is_touch and not change.is_refund
            ],
            refund_days=[change.day for change in changed if change.is_refund],
            lookback_days=self._lookback_days,
            last_day=last_day,
        )

    async def _count(self, month: date, watermark: datetime) -> int:
        """Count one month; return its conversions."""
        days = DateRange(start=month, end=last_day_of(month))
        async with self._database.transaction(isolation="repeatable_read") as connection:
            await store.lock_attribution(connection)
            check_counted_zone(await recount_store.fetch_reporting_time_zone(connection), self._zone)
            campaigns = await store.list_campaigns(connection)
            counted = await self._read(connection, days, campaigns)
            await store.replace_month(
                connection,
                days,
                _list_credits(days, campaigns, counted),
                _list_days(days, campaigns, counted),
            )
            await store.finish_month(connection, month, watermark)
        return sum(int(currency.conversions.sum()) for currency in counted.values())

    async def _read(
        self, connection: Connection, days: DateRange, campaigns: Sequence[store.NumberedCampaign]
    ) -> dict[int, MonthCredits]:
        """Return what every currency, by number, has on the days."""
        sizes = {campaign.currency_number: campaign.campaign_number for campaign in campaigns}
        lookback = timedelta(days=self._lookback_days)
        ledgers = {
            number: MonthLedger(
                campaigns=size,
                first_day=(days.start - _EPOCH).days,
                last_day=(days.end - _EPOCH).days,
                lookback_micros=lookback // timedelta(microseconds=1),
            )
            for number, size in sizes.items()
        }
        reader = MomentReader(ledgers)
        start_at = day_starts_at(days.start, self._zone)
        end_at = day_starts_at(month_after(days.start), self._zone)
        await store.copy_moments(
            connection,
            touches_from=start_at - lookback,
            conversions_from=start_at,
            touches_before=end_at,
            conversions_before=end_at + lookback,
            groups=GROUPS,
            receive=reader.receive,
        )
        reader.finish()
        return {number: ledger.close() for number, ledger in ledgers.items()}


def _list_month_ends(ranges: Iterable[DateRange]) -> Iterator[date]:
    """Return the first and the last day of every month that the ranges touch."""
    for days in ranges:
        for month in list_months(days.start, days.end):
            yield month
            yield last_day_of(month)


def _list_days(
    days: DateRange, campaigns: Sequence[store.NumberedCampaign], counted: dict[int, MonthCredits]
) -> Iterator[store.DividedDay]:
    codes = {campaign.currency_number: campaign.currency_code for campaign in campaigns}
    for number, month in counted.items():
        for place in month.conversions.nonzero()[0].tolist():
            yield store.DividedDay(
                day=days.start + place * _DAY,
                currency_code=codes[number],
                conversions=int(month.conversions[place]),
                direct_conversions=int(month.direct_conversions[place]),
                touched_purchases=int(month.touched_purchases[place]),
                revenue_micros=int(month.revenue[place]),
                conversions_without_group=month.conversions_without_group[place].tolist(),
            )


def _list_credits(
    days: DateRange, campaigns: Sequence[store.NumberedCampaign], counted: dict[int, MonthCredits]
) -> Iterator[store.CreditRow]:
    names = {(campaign.currency_number, campaign.campaign_number): campaign for campaign in campaigns}
    for number, month in counted.items():
        models = {"counted": month.counted, "direct": month.direct, **month.models}
        for model, credit in models.items():
            for place, column in _credited(credit):
                campaign = names[number, column + 1]
                without = credit.without_group
                yield store.CreditRow(
                    campaign_id=campaign.campaign_id,
                    day=days.start + place * _DAY,
                    model=model,
                    currency_code=campaign.currency_code,
                    microconversions=int(credit.microconversions[place, column]),
                    revenue_micros=int(credit.revenue[place, column]),
                    microconversions_without_group=(
                        () if without is None else without[place, column].tolist()
                    ),
                )


def _credited(credit: Credits) -> Iterator[tuple[int, int]]:
    """Return day and campaign, as places in the arrays, of every credit that is not 0."""
    places, columns = ((credit.microconversions != 0) | (credit.revenue != 0)).nonzero()
    return zip(places.tolist(), columns.tolist(), strict=True)
