"""Events in columns, and what makes one unfit.

A batch is validated by columns, which costs a fraction of a microsecond an event, and only events that look
suspicious there are looked at one by one. `explain_rejection` is the rule; the columns merely know which
events cannot break it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

DELIVERED, VIEWED, CLICKED, CONVERTED, REFUNDED = 1, 2, 3, 4, 5
UNSUBSCRIBED, GEOFENCE_ENTERED, NOTIFICATION_DELIVERED, NOTIFICATION_OPENED, CUSTOM = 6, 7, 8, 9, 10
"""The event types, by the contract's numbers."""

MICROS_PER_UNIT = 1_000_000
MAXIMUM_MONEY = 1_000_000_000
"""Largest amount taken, in currency units."""
MAXIMUM_ID_LENGTH = 128
MAXIMUM_CHANNEL = 4
EARLIEST_MICROS = 946_684_800_000_000
"""2000-01-01T00:00:00Z in microseconds since 1970."""
MISSING_TIME = -(2**62)
"""Stands in a column of times for an event without one."""

_WITHOUT_CAMPAIGN = frozenset({CONVERTED, REFUNDED, UNSUBSCRIBED, GEOFENCE_ENTERED, CUSTOM})
_WITH_REVENUE = frozenset({CONVERTED, REFUNDED})
_KNOWN_TYPES = frozenset(range(DELIVERED, CUSTOM + 1))
_TWO_TO_THE_31 = 2**31

Column = list[Any]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """Why an event was not taken: its position in the batch, the field at fault, a reason, what is right."""

    index: int
    field: str
    reason: str
    message: str


@dataclass(kw_only=True)
class EventColumns:
    """A batch of events, one list per field, as they were sent.

    None is unset. `event_micros` are microseconds since 1970, `MISSING_TIME` without one; money is in
    currency units as the wire's doubles; `channel` 0 is unset; empty text is unset but for `campaign_id`.
    """

    user_id: list[str]
    event_id: list[str]
    event_type: list[int]
    campaign_id: list[str | None]
    merchant_id: list[int | None]
    event_micros: list[int]
    revenue: list[float | None]
    cost: list[float | None]
    offer_amount: list[float | None]
    channel: list[int]
    original_event_id: list[str]
    custom_event_name: list[str]
    is_machine_open: list[bool]
    propensity: list[float | None]
    policy_version: list[str]

    def __len__(self) -> int:
        return len(self.user_id)

    def keep(self, mask: Sequence[bool] | Mask) -> "EventColumns":
        """Return the events where `mask` is true, in their order."""
        kept = {f.name: list(compress(getattr(self, f.name), mask)) for f in fields(self)}
        return EventColumns(**kept)

    def merchants_without_campaign(self) -> list[int]:
        """Return the merchants of the events outside campaigns, each once, sorted."""
        if None not in self.campaign_id:
            return []
        pairs = zip(self.merchant_id, self.campaign_id, strict=True)
        return sorted({merchant for merchant, campaign in pairs if campaign is None and merchant is not None})


@dataclass(frozen=True, kw_only=True)
class IngestionLimits:
    """What a batch is judged by: the known campaigns, and the latest and earliest times taken.

    Times are microseconds since 1970. `earliest_micros` is after `EARLIEST_MICROS` where older events are not
    kept.
    """

    campaigns: frozenset[str]
    latest_micros: int
    earliest_micros: int = EARLIEST_MICROS


def find_rejections(events: EventColumns, limits: IngestionLimits) -> list[Rejection]:
    """Return why events of the batch are unfit, at most one reason per event, by index."""
    suspects = np.flatnonzero(_suspicious(events, limits)).tolist()
    found = (explain_rejection(events, index, limits) for index in suspects)
    return [rejection for rejection in found if rejection is not None]


def _suspicious(events: EventColumns, limits: IngestionLimits) -> Mask:
    """Return a mask that is true at least for every event that is unfit."""
    size = len(events)
    mask = np.zeros(size, dtype=np.bool_)
    types = np.array(events.event_type, dtype=np.int64)
    mask |= (types < DELIVERED) | (types > NOTIFICATION_OPENED) | (types == REFUNDED)
    for texts in (events.user_id, events.event_id):
        _mark_texts(mask, texts, required=True)
    for texts in (events.original_event_id, events.custom_event_name, events.policy_version):
        if any(texts):
            _mark_texts(mask, texts, required=False)
            if texts is not events.policy_version:
                mask |= np.fromiter(map(bool, texts), np.bool_, size)
    mask |= _suspicious_place(events, types, limits.campaigns)
    earliest, latest = limits.earliest_micros, limits.latest_micros
    if min(events.event_micros) < earliest or max(events.event_micros) > latest:
        mask |= np.fromiter((not earliest <= t <= latest for t in events.event_micros), np.bool_, size)
    for amounts in (events.revenue, events.cost, events.offer_amount):
        mask |= _unfit_money(amounts)
    without_revenue = np.fromiter((r is None for r in events.revenue), np.bool_, size)
    mask |= ~without_revenue & (types != CONVERTED)
    propensities = np.array(events.propensity, dtype=np.float64)
    mask |= ~((propensities > 0) & (propensities <= 1)) & ~_unset(events.propensity, propensities)
    channels = np.array(events.channel, dtype=np.int64)
    mask |= (channels < 0) | (channels > MAXIMUM_CHANNEL)
    return mask


def _suspicious_place(events: EventColumns, types: NDArray[np.int64], campaigns: frozenset[str]) -> Mask:
    size = len(events)
    merchants = np.array(events.merchant_id, dtype=np.float64)
    mask = (merchants < 0) | (merchants >= _TWO_TO_THE_31)
    if unknown := set(events.campaign_id) - campaigns - {None}:
        mask |= np.fromiter((c in unknown for c in events.campaign_id), np.bool_, size)
    without = np.fromiter((c is None for c in events.campaign_id), np.bool_, size)
    purchase = (types == CONVERTED) & ~np.isnan(merchants)
    mask |= without & ~purchase & (types != GEOFENCE_ENTERED) & (types != UNSUBSCRIBED)
    return mask


def _mark_texts(mask: Mask, texts: list[str], *, required: bool) -> None:
    joined = "".join(texts)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    mask |= lengths > MAXIMUM_ID_LENGTH
    if required:
        mask |= lengths == 0
    if "\0" in joined:
        mask |= np.fromiter(("\0" in text for text in texts), np.bool_, len(texts))


def _unset(values: Column, array: NDArray[np.float64]) -> Mask:
    """Return where `values` is None; `array` has nan there, and possibly elsewhere."""
    nan = np.isnan(array)
    if int(nan.sum()) == values.count(None):
        return nan
    return np.fromiter((value is None for value in values), np.bool_, len(values))


def _unfit_money(amounts: list[float | None]) -> Mask:
    array = np.array(amounts, dtype=np.float64)
    fit = (array >= 0) & (array <= MAXIMUM_MONEY)
    with np.errstate(over="ignore"):  # an amount that is far out of bounds anyway
        fit &= np.rint(array * MICROS_PER_UNIT) / MICROS_PER_UNIT == array
    return ~fit & ~_unset(amounts, array)


def money_columns_to_micros(amounts: list[float | None]) -> list[int | None]:
    """Return fit amounts in currency units as integer micros."""
    array = np.array(amounts, dtype=np.float64)
    known = ~np.isnan(array)
    if not known.any():
        return [None] * len(amounts)
    micros: list[int] = np.rint(np.where(known, array, 0.0) * MICROS_PER_UNIT).astype(np.int64).tolist()
    if known.all():
        return list(micros)
    return [value if set_ else None for value, set_ in zip(micros, known.tolist(), strict=True)]


def explain_rejection(events: EventColumns, index: int, limits: IngestionLimits) -> Rejection | None:
    """Return the first rule that one event breaks, in the order of the fields; None if it is fit."""
    for field, reason, message in _broken_rules(events, index, limits):
        return Rejection(index=index, field=field, reason=reason, message=message)
    return None


def _broken_rules(
    events: EventColumns, index: int, limits: IngestionLimits
) -> Iterable[tuple[str, str, str]]:
    yield from broken_text("user_id", events.user_id[index], required=True)
    yield from broken_text("event_id", events.event_id[index], required=True)
    event_type = events.event_type[index]
    if event_type not in _KNOWN_TYPES:
        yield (
            "event_type",
            "VALUE_UNKNOWN",
            "must be an event type of the contract, not EVENT_TYPE_UNSPECIFIED",
        )
    yield from _broken_place(events, index, limits)
    yield from _broken_time(events.event_micros[index], limits)
    revenue = events.revenue[index]
    if revenue is not None:
        yield from broken_money("revenue", revenue)
        if revenue and event_type not in _WITH_REVENUE:
            yield "revenue", "INVALID_FIELD", "is carried by CONVERTED and REFUNDED only"
    for field, amount in (("cost", events.cost[index]), ("offer_amount", events.offer_amount[index])):
        if amount is not None:
            yield from broken_money(field, amount)
    if not 0 <= events.channel[index] <= MAXIMUM_CHANNEL:
        yield "channel", "VALUE_UNKNOWN", "must be a channel of the contract"
    yield from _broken_special(events, index, event_type)
    propensity = events.propensity[index]
    if propensity is not None and not 0 < propensity <= 1:
        yield "propensity", "VALUE_OUT_OF_RANGE", "must be above 0 and at most 1"
    yield from broken_text("policy_version", events.policy_version[index], required=False)


def _broken_place(
    events: EventColumns, index: int, limits: IngestionLimits
) -> Iterable[tuple[str, str, str]]:
    """Yield what is wrong with the campaign and the merchant."""
    campaign_id, event_type = events.campaign_id[index], events.event_type[index]
    if campaign_id is None:
        if event_type not in _WITHOUT_CAMPAIGN:
            yield "campaign_id", "FIELD_REQUIRED", "is required for this event type"
        if event_type == CONVERTED and events.merchant_id[index] is None:
            yield "merchant_id", "FIELD_REQUIRED", "is required for a purchase without a campaign"
    elif not campaign_id:
        yield "campaign_id", "FIELD_REQUIRED", "must not be empty; leave it unset for a plain purchase"
    elif campaign_id not in limits.campaigns:
        yield "campaign_id", "CAMPAIGN_UNKNOWN", "names no campaign of the catalog"
    merchant_id = events.merchant_id[index]
    if merchant_id is not None and not 0 <= merchant_id < _TWO_TO_THE_31:
        yield "merchant_id", "VALUE_OUT_OF_RANGE", "must not be negative"


def _broken_special(events: EventColumns, index: int, event_type: int) -> Iterable[tuple[str, str, str]]:
    """Yield what is wrong with the fields that only one event type has."""
    original = events.original_event_id[index]
    if event_type == REFUNDED:
        yield from broken_text("original_event_id", original, required=True)
        if not events.revenue[index]:
            yield "revenue", "FIELD_REQUIRED", "of a REFUNDED is what is given back, above 0"
    elif original:
        yield "original_event_id", "INVALID_FIELD", "is for REFUNDED only"
    name = events.custom_event_name[index]
    if event_type == CUSTOM:
        yield from broken_text("custom_event_name", name, required=True)
    elif name:
        yield "custom_event_name", "INVALID_FIELD", "is for CUSTOM only"


def broken_text(field: str, text: str, *, required: bool) -> Iterable[tuple[str, str, str]]:
    """Yield what is wrong with a name: the field, the reason, and what would be right."""
    if required and not text:
        yield field, "FIELD_REQUIRED", "must not be empty"
    if len(text) > MAXIMUM_ID_LENGTH:
        yield field, "TEXT_INVALID", f"must have at most {MAXIMUM_ID_LENGTH} characters"
    if "\0" in text:
        yield field, "TEXT_INVALID", "must not hold a NUL character"


def _broken_time(micros: int, limits: IngestionLimits) -> Iterable[tuple[str, str, str]]:
    if micros == MISSING_TIME:
        yield "event_time", "FIELD_REQUIRED", "must be set"
    elif micros < EARLIEST_MICROS:
        yield "event_time", "TIME_OUT_OF_RANGE", "must not be before 2000-01-01"
    elif micros < limits.earliest_micros:
        earliest = _isoformat(limits.earliest_micros)
        yield "event_time", "EVENT_TOO_OLD", f"is older than events are kept: must not be before {earliest}"
    elif micros > limits.latest_micros:
        latest = _isoformat(limits.latest_micros)
        yield "event_time", "TIME_OUT_OF_RANGE", f"lies in the future: must not be after {latest}"


def _isoformat(micros: int) -> str:
    return datetime.fromtimestamp(micros // MICROS_PER_UNIT, UTC).isoformat()


def broken_money(field: str, amount: float) -> Iterable[tuple[str, str, str]]:
    """Yield what is wrong with an amount in currency units: field, reason, and what would be right."""
    if not math.isfinite(amount):
        yield field, "MONEY_NOT_FINITE", "must be a finite number"
    elif not 0 <= amount <= MAXIMUM_MONEY:
        yield field, "MONEY_OUT_OF_RANGE", f"must be between 0 and {MAXIMUM_MONEY}"
    elif round(amount * MICROS_PER_UNIT) / MICROS_PER_UNIT != amount:
        yield field, "MONEY_TOO_PRECISE", "must have at most six decimals"
