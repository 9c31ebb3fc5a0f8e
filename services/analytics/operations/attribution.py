"""Use cases that answer what campaigns are credited with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.analytics.domain.attribution import MARKOV, MICRO, MODELS
from services.analytics.domain.intervals import ConfidenceInterval
from services.analytics.domain.metrics import DateRange, Estimate
from services.analytics.domain.periods import EARLIEST_DAY, check_range, day_of
from services.analytics.domain.shares import estimate_share_interval
from services.analytics.operations.ranges import fetch_bounds
from services.analytics.store import attribution as store
from services.common.database import Connection, Database
from services.common.errors import FieldViolation, InvalidArgumentError, invalid_field

DEFAULT_DAYS = 30
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Credit:
    """What one model credits a campaign with, and its share of all conversions."""

    model: str
    sums: store.CreditSums
    share: Estimate


@dataclass(frozen=True, kw_only=True)
class CampaignAttribution:
    """Every model's credit of a campaign beside what names the campaign itself (`counted`)."""

    campaign_id: str
    currency_code: str | None
    days: DateRange
    as_of: datetime | None
    lookback_days: int | None
    credits: Sequence[Credit]
    counted: store.CreditSums
    direct_conversions: int


@dataclass(frozen=True, kw_only=True)
class AttributionQuery:
    """Which page of which model's credits; None and the empty text are unset."""

    model: str
    start: date | None
    end: date | None
    currency_code: str
    size: int
    after: tuple[int, str] | None


@dataclass(frozen=True, kw_only=True)
class PortfolioAttribution:
    """A page of campaigns' credits by one model, and the sums of all of them beside what was divided."""

    model: str
    currency_code: str | None
    days: DateRange
    as_of: datetime | None
    lookback_days: int | None
    campaigns: Sequence[tuple[str, Credit]]
    has_more: bool
    divided: store.Divided
    credited: store.CreditSums


class AttributionOperations:
    """Answers from what the last run of attribution counted, each answer from one snapshot.

    Args:
        database: where the credits live.
        zone: the reporting time zone.
        clock: the present, aware.
    """

    def __init__(self, database: Database, *, zone: ZoneInfo, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._zone = zone
        self._clock = clock

    async def get_attribution(
        self, campaign_id: str, start: date | None, end: date | None
    ) -> CampaignAttribution:
        """Return every model's credit of a campaign over days of conversions.

        Raises:
            NotFoundError: CAMPAIGN_UNKNOWN.
            InvalidArgumentError: the range is reversed or absurd.
        """
        days = self._close_range(start, end)
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            currency = (await fetch_bounds(connection, campaign_id)).currency_code
            as_of, lookback_days = await store.fetch_as_of(connection, days)
            sums: Mapping[str, store.CreditSums] = {}
            shares = _NOTHING
            if currency is not None:
                sums = await store.list_campaign_credits(connection, campaign_id, days, currency)
                shares = await _read_shares(connection, [campaign_id], days, currency, MODELS)
        nothing = store.CreditSums()
        return CampaignAttribution(
            campaign_id=campaign_id,
            currency_code=currency,
            days=days,
            as_of=as_of,
            lookback_days=lookback_days,
            credits=[shares.judge(campaign_id, model, sums.get(model, nothing)) for model in MODELS],
            counted=sums.get("counted", nothing),
            direct_conversions=sums.get("direct", nothing).microconversions // MICRO,
        )

    async def get_portfolio_attribution(self, query: AttributionQuery) -> PortfolioAttribution:
        """Return campaigns by one model's credit, the most conversions first, then by campaign_id.

        Raises:
            InvalidArgumentError: an unknown model, an absurd range, or several currencies and none named
                (CURRENCY_REQUIRED).
        """
        model = parse_model(query.model)
        days = self._close_range(query.start, query.end)
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            as_of, lookback_days = await store.fetch_as_of(connection, days)
            currency = await _settle_currency(connection, query.currency_code, days)
            found = await store.list_portfolio_credits(
                connection,
                model=model,
                days=days,
                currency_code=currency or "",
                after=query.after,
                limit=query.size + 1,
            )
            shown = found[: query.size]
            names = [campaign_id for campaign_id, _ in shown]
            shares = await _read_shares(connection, names, days, currency or "", [model])
            credited = await store.fetch_credit_sums(connection, model, days, currency or "")
        return PortfolioAttribution(
            model=model,
            currency_code=currency,
            days=days,
            as_of=as_of,
            lookback_days=lookback_days,
            campaigns=[(name, shares.judge(name, model, sums)) for name, sums in shown],
            has_more=len(found) > query.size,
            divided=shares.divided,
            credited=credited,
        )

    def _close_range(self, start: date | None, end: date | None) -> DateRange:
        check_range(start, end)
        if end is None:
            today = day_of(self._clock(), self._zone)
            end = max(today, start or today)
        if start is None:
            start = max(end - (DEFAULT_DAYS - 1) * _DAY, EARLIEST_DAY)
        check_range(start, end)
        return DateRange(start=start, end=end)


@dataclass(frozen=True, kw_only=True)
class _Shares:
    """What shares and their intervals are made of."""

    divided: store.Divided
    without: Mapping[tuple[str, str], Sequence[float]]
    divided_without: Sequence[float]

    def judge(self, campaign_id: str, model: str, sums: store.CreditSums) -> Credit:
        total = self.divided.conversions
        credit = sums.microconversions / MICRO
        share = Estimate(
            value=credit / total if total else None,
            interval=self._estimate_interval(campaign_id, model, credit),
        )
        return Credit(model=model, sums=sums, share=share)

    def _estimate_interval(self, campaign_id: str, model: str, credit: float) -> ConfidenceInterval | None:
        return estimate_share_interval(
            credit=credit,
            total=self.divided.conversions,
            credit_without_group=[micro / MICRO for micro in self.without.get((campaign_id, model), ())],
            total_without_group=self.divided_without,
        )


_NOTHING = _Shares(
    divided=store.Divided(conversions=0, direct_conversions=0, touched_purchases=0, revenue_micros=0),
    without={},
    divided_without=(),
)


def parse_model(name: str) -> str:
    """Return the model of that name, `markov` for the empty one; refused by field otherwise."""
    if not name:
        return MARKOV
    if name not in MODELS:
        raise invalid_field("model", f"must be one of {', '.join(MODELS)}", "VALUE_UNKNOWN")
    return name


async def _read_shares(
    connection: Connection, names: Sequence[str], days: DateRange, currency: str, models: Sequence[str]
) -> _Shares:
    return _Shares(
        divided=await store.fetch_divided(connection, days, currency),
        without=await store.list_credits_without_groups(connection, names, days, currency, models),
        divided_without=await store.list_divided_without_groups(connection, days, currency),
    )


async def _settle_currency(connection: Connection, asked: str, days: DateRange) -> str | None:
    """Return the currency asked for, or the only one that there is; None where there is none."""
    if asked:
        return asked
    known = await store.list_currencies(connection, days)
    if len(known) > 1:
        message = f"must be one of {', '.join(known)}: money of several currencies is never added"
        raise InvalidArgumentError(
            f"currency_code {message}",
            reason="CURRENCY_REQUIRED",
            violations=(
                FieldViolation(field="currency_code", description=message, reason="CURRENCY_REQUIRED"),
            ),
        )
    return known[0] if known else None
