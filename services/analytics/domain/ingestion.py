"""What the catalog stamps on events, when two events are the same, and what a refund may take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import compress
from typing import Any

from services.analytics.domain.catalog import DEFAULT_CURRENCY_CODE
from services.analytics.domain.events import (
    CONVERTED,
    REFUNDED,
    EventColumns,
    Rejection,
    money_columns_to_micros,
)

STAMPED_OFFER, STAMPED_MERCHANT, STAMPED_CHANNEL, STAMPED_CAMPAIGN = 1, 2, 4, 8
"""What the sender left out and was filled in, added in `stamped_fields`."""

Identity = tuple[str, str]
"""(user_id, event_id)."""
Content = tuple[Any, ...]
"""Everything a sender said of an event beside its identity, in one form whatever was stamped since."""


@dataclass(frozen=True, kw_only=True)
class CampaignStamp:
    """What events of a campaign are stamped with; `is_currency_fixed` once the campaign has an event."""

    campaign_id: str
    currency_code: str
    is_currency_fixed: bool
    offer_amount_micros: int | None
    merchant_id: int | None
    channel: int | None


@dataclass(frozen=True, kw_only=True)
class StoredEvent:
    """A stored event: its content as sent, and what a refund of it needs."""

    identity: Identity
    content: Content
    event_type: int
    campaign_id: str | None
    merchant_id: int | None
    counted_micros: int
    revenue_micros: int
    offer_amount_micros: int | None
    channel: int | None
    currency_code: str


@dataclass(frozen=True, kw_only=True)
class StoredRefund:
    """A stored refund of some event."""

    original: Identity
    event_id: str
    revenue_micros: int


@dataclass(kw_only=True)
class StampedEvents:
    """Fit events in columns, as they are stored; `index` is each one's position in the batch."""

    index: list[int]
    user_id: list[str]
    event_id: list[str]
    campaign_id: list[str | None]
    event_micros: list[int]
    counted_micros: list[int]
    revenue_micros: list[int | None]
    cost_micros: list[int | None]
    offer_amount_micros: list[int | None]
    merchant_id: list[int | None]
    event_type: list[int]
    channel: list[int | None]
    stamped_fields: list[int]
    is_machine_open: list[bool]
    currency_code: list[str]
    original_event_id: list[str | None]
    custom_event_name: list[str | None]
    propensity: list[float | None]
    policy_version: list[str | None]

    def __len__(self) -> int:
        return len(self.index)

    def identities(self) -> list[Identity]:
        """Return every event's identity, in order."""
        return list(zip(self.user_id, self.event_id, strict=True))

    def originals(self) -> list[Identity]:
        """Return, of refunds, the identities of the events refunded, in order."""
        named = zip(self.user_id, self.original_event_id, strict=True)
        return [(user_id, original or "") for user_id, original in named]

    def keep(self, mask: Sequence[bool]) -> "StampedEvents":
        """Return the events where `mask` is true, in their order."""
        return StampedEvents(**{f.name: list(compress(getattr(self, f.name), mask)) for f in fields(self)})

    def content(self, row: int) -> Content:
        """Return what the sender said of one event."""
        return event_content(
            event_type=self.event_type[row],
            stamped_fields=self.stamped_fields[row],
            campaign_id=self.campaign_id[row],
            event_micros=self.event_micros[row],
            revenue_micros=self.revenue_micros[row],
            cost_micros=self.cost_micros[row],
            offer_amount_micros=self.offer_amount_micros[row],
            merchant_id=self.merchant_id[row],
            channel=self.channel[row],
            is_machine_open=self.is_machine_open[row],
            original_event_id=self.original_event_id[row],
            custom_event_name=self.custom_event_name[row],
            propensity=self.propensity[row],
            policy_version=self.policy_version[row],
        )


def event_content(
    *,
    event_type: int,
    stamped_fields: int,
    campaign_id: str | None,
    event_micros: int,
    revenue_micros: int | None,
    cost_micros: int | None,
    offer_amount_micros: int | None,
    merchant_id: int | None,
    channel: int | None,
    is_machine_open: bool,
    original_event_id: str | None,
    custom_event_name: str | None,
    propensity: float | None,
    policy_version: str | None,
) -> Content:
    """Return what a sender said of an event, without what was stamped.

    Unset money is 0, as the contract has it. A refund's offer, merchant and channel are its original's,
    whatever the sender said.
    """
    is_refund = event_type == REFUNDED
    return (
        event_type,
        None if stamped_fields & STAMPED_CAMPAIGN else campaign_id,
        event_micros,
        revenue_micros or 0,
        cost_micros or 0,
        None if stamped_fields & STAMPED_OFFER or is_refund else offer_amount_micros,
        None if stamped_fields & STAMPED_MERCHANT or is_refund else merchant_id,
        None if stamped_fields & STAMPED_CHANNEL or is_refund else channel,
        is_machine_open,
        original_event_id,
        custom_event_name,
        propensity,
        policy_version,
    )


def stamp_events(
    events: EventColumns,
    index: Sequence[int],
    campaigns: Mapping[str, CampaignStamp],
    merchant_currencies: Mapping[int, str],
) -> StampedEvents:
    """Return fit events with what their senders left out filled in from the catalog.

    Args:
        events: the fit events of a batch.
        index: their positions in the batch.
        campaigns: the stamp of every campaign they name.
        merchant_currencies: currencies of the merchants in the catalog, for events without a campaign.
    """
    offers = money_columns_to_micros(events.offer_amount)
    merchants = list(events.merchant_id)
    channels: list[int | None] = [channel or None for channel in events.channel]
    stamped = [0] * len(events)
    currencies = [DEFAULT_CURRENCY_CODE] * len(events)
    for row, campaign_id in enumerate(events.campaign_id):
        if campaign_id is None:
            merchant = merchants[row]
            if merchant is not None:
                currencies[row] = merchant_currencies.get(merchant, DEFAULT_CURRENCY_CODE)
            continue
        stamp = campaigns[campaign_id]
        currencies[row] = stamp.currency_code
        bits = 0
        if offers[row] is None and stamp.offer_amount_micros is not None:
            offers[row] = stamp.offer_amount_micros
            bits = STAMPED_OFFER
        if merchants[row] is None and stamp.merchant_id is not None:
            merchants[row] = stamp.merchant_id
            bits |= STAMPED_MERCHANT
        if channels[row] is None and stamp.channel is not None:
            channels[row] = stamp.channel
            bits |= STAMPED_CHANNEL
        stamped[row] = bits
    return StampedEvents(
        index=list(index),
        user_id=events.user_id,
        event_id=events.event_id,
        campaign_id=events.campaign_id,
        event_micros=events.event_micros,
        counted_micros=list(events.event_micros),
        revenue_micros=money_columns_to_micros(events.revenue),
        cost_micros=money_columns_to_micros(events.cost),
        offer_amount_micros=offers,
        merchant_id=merchants,
        event_type=events.event_type,
        channel=channels,
        stamped_fields=stamped,
        is_machine_open=events.is_machine_open,
        currency_code=currencies,
        original_event_id=[text or None for text in events.original_event_id],
        custom_event_name=[text or None for text in events.custom_event_name],
        propensity=events.propensity,
        policy_version=[text or None for text in events.policy_version],
    )


def first_occurrences(events: StampedEvents) -> list[bool]:
    """Return a mask of the events whose identity did not come earlier in the batch."""
    identities = events.identities()
    if len(set(identities)) == len(identities):
        return [True] * len(identities)
    seen: set[Identity] = set()
    mask = []
    for identity in identities:
        mask.append(identity not in seen)
        seen.add(identity)
    return mask


def judge_repeats(
    events: StampedEvents, stored: Mapping[Identity, StoredEvent]
) -> tuple[int, list[Rejection]]:
    """Return how many of the events are stored with the same content, and the others' rejections."""
    duplicates, conflicts = 0, []
    for row, identity in enumerate(events.identities()):
        if stored[identity].content == events.content(row):
            duplicates += 1
            continue
        conflicts.append(
            Rejection(
                index=events.index[row],
                field="event_id",
                reason="EVENT_ID_CONFLICT",
                message="was taken before for this user with other content",
            )
        )
    return duplicates, conflicts


@dataclass(kw_only=True)
class RefundPlan:
    """Refunds that may be taken, ones that are known already, and the rejections of the others."""

    events: StampedEvents
    known: StampedEvents
    rejections: list[Rejection] = field(default_factory=list)


def plan_refunds(
    refunds: StampedEvents,
    originals: Mapping[Identity, StoredEvent],
    earlier: Sequence[StoredRefund],
) -> RefundPlan:
    """Decide which refunds of a batch may be taken, in its order.

    A refund counts at its original's time, in its currency and at its offer, merchant and channel; without a
    campaign of its own it has its original's. All refunds of an event together take at most its revenue. A
    refund of an event that is not kept is refused, even one that was taken before: it is not kept either.

    Args:
        refunds: the batch's refunds; a repeated one is known.
        originals: the stored events that they name, locked; none that is too old to be kept.
        earlier: all stored refunds of events that the refunds name.
    """
    earlier = [refund for refund in earlier if refund.original in originals]
    known_ids = {(refund.original[0], refund.event_id) for refund in earlier}
    left = {identity: event.revenue_micros for identity, event in originals.items()}
    for refund in earlier:
        left[refund.original] -= refund.revenue_micros
    taken, known, rejections = [False] * len(refunds), [False] * len(refunds), []
    for row, (identity, source) in enumerate(zip(refunds.identities(), refunds.originals(), strict=True)):
        original = originals.get(source)
        if original is not None:
            _inherit(refunds, row, original)
        if identity in known_ids:
            known[row] = True
            continue
        broken = _broken_refund(refunds, row, original, left.get(source, 0))
        if broken is not None:
            rejections.append(broken)
            continue
        left[source] -= refunds.revenue_micros[row] or 0
        taken[row] = True
        known_ids.add(identity)
    return RefundPlan(events=refunds.keep(taken), known=refunds.keep(known), rejections=rejections)


def _inherit(refunds: StampedEvents, row: int, original: StoredEvent) -> None:
    refunds.counted_micros[row] = original.counted_micros
    refunds.currency_code[row] = original.currency_code
    refunds.offer_amount_micros[row] = original.offer_amount_micros
    refunds.merchant_id[row] = original.merchant_id
    refunds.channel[row] = original.channel
    if refunds.campaign_id[row] is None and original.campaign_id is not None:
        refunds.campaign_id[row] = original.campaign_id
        refunds.stamped_fields[row] |= STAMPED_CAMPAIGN


def _broken_refund(
    refunds: StampedEvents, row: int, original: StoredEvent | None, left_micros: int
) -> Rejection | None:
    index = refunds.index[row]
    if original is None or original.event_type != CONVERTED:
        return Rejection(
            index=index,
            field="original_event_id",
            reason="ORIGINAL_EVENT_UNKNOWN",
            message="names no CONVERTED event of this user among the events that are kept",
        )
    if refunds.campaign_id[row] != original.campaign_id:
        return Rejection(
            index=index,
            field="campaign_id",
            reason="INVALID_FIELD",
            message="must be the campaign of the event refunded, or unset",
        )
    if (refunds.revenue_micros[row] or 0) > left_micros:
        return Rejection(
            index=index,
            field="revenue",
            reason="REFUND_TOO_LARGE",
            message="must be at most what is left of the original's revenue after earlier refunds",
        )
    return None
