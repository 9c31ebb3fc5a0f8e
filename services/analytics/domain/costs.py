"""Imported costs: what a campaign cost on a day through a channel, beyond what its events carry."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from services.analytics.domain.events import (
    MAXIMUM_CHANNEL,
    MICROS_PER_UNIT,
    Rejection,
    broken_money,
    broken_text,
)

EARLIEST_COST_DAY = date(2000, 1, 1)
NO_CHANNEL = 0
"""Stands for a cost of no channel in particular."""
CostKey = tuple[str, date, int]
"""(campaign_id, day, channel)."""
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, kw_only=True)
class SentCost:
    """A cost as it was sent: `cost` in currency units, None where unset; no currency is empty text."""

    campaign_id: str
    channel: int
    cost_date: str
    cost: float | None
    currency_code: str


@dataclass(frozen=True, kw_only=True)
class KeptCost:
    """What a campaign cost on a day through a channel."""

    campaign_id: str
    day: date
    channel: int
    currency_code: str
    cost_micros: int

    @property
    def key(self) -> CostKey:
        """Return what another cost takes the place of this one by."""
        return self.campaign_id, self.day, self.channel


@dataclass(frozen=True, kw_only=True)
class FitCost:
    """A cost that may be taken if its campaign is known; `index` is its position in the request."""

    index: int
    campaign_id: str
    day: date
    channel: int
    currency_code: str
    cost_micros: int


@dataclass(frozen=True, kw_only=True)
class CostPage:
    """At most `limit` costs after the one with the key `after`; None is before the first."""

    after: CostKey | None
    limit: int


def judge_costs(sent: Iterable[SentCost], latest_day: date) -> tuple[list[FitCost], list[Rejection]]:
    """Return the fit costs of a request, and why the others are not taken.

    The order within a request means nothing, so that of two amounts for one key neither is the newer: the
    first stands and the others are rejected. The same amount again is fit; it repeats what was said.

    Args:
        sent: the costs, in order.
        latest_day: the last day that may have a cost.
    """
    fit: list[FitCost] = []
    rejections: list[Rejection] = []
    amounts: dict[CostKey, int] = {}
    days: dict[str, date | None] = {}
    for index, cost in enumerate(sent):
        day = days[cost.cost_date] if cost.cost_date in days else _parse_day(cost.cost_date)
        days[cost.cost_date] = day
        broken = next(iter(_broken_rules(cost, day, latest_day)), None)
        if broken is not None or day is None or cost.cost is None:
            field, reason, message = broken or ("cost", "FIELD_REQUIRED", "must be set")
            rejections.append(Rejection(index=index, field=field, reason=reason, message=message))
            continue
        taken = FitCost(
            index=index,
            campaign_id=cost.campaign_id,
            day=day,
            channel=cost.channel,
            currency_code=cost.currency_code,
            cost_micros=round(cost.cost * MICROS_PER_UNIT),
        )
        key = (taken.campaign_id, taken.day, taken.channel)
        if amounts.setdefault(key, taken.cost_micros) == taken.cost_micros:
            fit.append(taken)
        else:
            rejections.append(_repeated(index))
    return fit, rejections


def match_campaigns(
    costs: Sequence[FitCost], currencies: Mapping[str, str]
) -> tuple[list[KeptCost], list[Rejection]]:
    """Return the costs of known campaigns in their campaigns' currencies, and why the others are not taken.

    Args:
        costs: the fit costs of a request.
        currencies: the currency of every known campaign among theirs.
    """
    kept: list[KeptCost] = []
    rejections: list[Rejection] = []
    for cost in costs:
        currency = currencies.get(cost.campaign_id)
        if currency is None:
            field, reason = "campaign_id", "CAMPAIGN_UNKNOWN"
            message = "names no campaign of the catalog"
        elif cost.currency_code not in {"", currency}:
            field, reason = "currency_code", "CURRENCY_CONFLICT"
            message = f"must be {currency}, the currency of the campaign, or empty"
        else:
            kept.append(
                KeptCost(
                    campaign_id=cost.campaign_id,
                    day=cost.day,
                    channel=cost.channel,
                    currency_code=currency,
                    cost_micros=cost.cost_micros,
                )
            )
            continue
        rejections.append(Rejection(index=cost.index, field=field, reason=reason, message=message))
    return kept, rejections


def _parse_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        return None


def _broken_rules(cost: SentCost, day: date | None, latest_day: date) -> Iterable[tuple[str, str, str]]:
    """Yield the rules that a cost breaks, in the order of its fields."""
    yield from broken_text("campaign_id", cost.campaign_id, required=True)
    if not NO_CHANNEL <= cost.channel <= MAXIMUM_CHANNEL:
        yield "channel", "VALUE_UNKNOWN", "must be a channel of the contract"
    if not cost.cost_date:
        yield "cost_date", "FIELD_REQUIRED", "must not be empty"
    elif day is None:
        yield "cost_date", "DATE_INVALID", "must be a calendar date as YYYY-MM-DD"
    elif day < EARLIEST_COST_DAY:
        yield "cost_date", "TIME_OUT_OF_RANGE", f"must not be before {EARLIEST_COST_DAY}"
    elif day > latest_day:
        yield "cost_date", "TIME_OUT_OF_RANGE", f"lies in the future: must not be after {latest_day}"
    if cost.cost is None:
        yield "cost", "FIELD_REQUIRED", "must be set"
    else:
        yield from broken_money("cost", cost.cost)


def _repeated(index: int) -> Rejection:
    return Rejection(
        index=index,
        field="cost",
        reason="DUPLICATE_ENTRY",
        message="stands earlier in this request for the same campaign, channel and day with another amount",
    )
