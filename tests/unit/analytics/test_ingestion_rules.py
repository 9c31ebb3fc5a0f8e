# ruff: noqa: ANN401 (values of any field of a message pass through here)
"""Stamps, sameness of events, and what refunds may take."""

from typing import Any

import pytest

from services.analytics.domain.events import EventColumns
from services.analytics.domain.ingestion import (
    STAMPED_CAMPAIGN,
    STAMPED_CHANNEL,
    STAMPED_MERCHANT,
    STAMPED_OFFER,
    CampaignStamp,
    StampedEvents,
    StoredEvent,
    StoredRefund,
    first_occurrences,
    judge_repeats,
    plan_refunds,
    stamp_events,
)

STAMP = CampaignStamp(
    campaign_id="c1",
    currency_code="EUR",
    is_currency_fixed=True,
    offer_amount_micros=5_000_000,
    merchant_id=9,
    channel=2,
)
ROW: dict[str, Any] = {
    "user_id": "u1",
    "event_id": "e1",
    "event_type": 4,
    "campaign_id": "c1",
    "merchant_id": None,
    "event_micros": 10**15,
    "revenue": 20.0,
    "cost": None,
    "offer_amount": None,
    "channel": 0,
    "original_event_id": "",
    "custom_event_name": "",
    "is_machine_open": False,
    "propensity": None,
    "policy_version": "",
}


def stamped(*rows: dict[str, Any], stamp: CampaignStamp = STAMP) -> StampedEvents:
    full = [{**ROW, **row} for row in rows]
    columns = EventColumns(**{name: [row[name] for row in full] for name in ROW})
    return stamp_events(columns, range(len(rows)), {"c1": stamp}, {3: "CHF"})


def stored(events: StampedEvents, row: int = 0) -> StoredEvent:
    return StoredEvent(
        identity=(events.user_id[row], events.event_id[row]),
        content=events.content(row),
        event_type=events.event_type[row],
        campaign_id=events.campaign_id[row],
        merchant_id=events.merchant_id[row],
        counted_micros=events.counted_micros[row],
        revenue_micros=events.revenue_micros[row] or 0,
        offer_amount_micros=events.offer_amount_micros[row],
        channel=events.channel[row],
        currency_code=events.currency_code[row],
    )


def refund(**changes: Any) -> dict[str, Any]:
    values = {
        "event_id": "r1",
        "event_type": 5,
        "revenue": 5.0,
        "original_event_id": "e1",
        "event_micros": 2 * 10**15,
    }
    return {**values, **changes}


def test_what_the_sender_left_out_is_stamped_and_marked() -> None:
    events = stamped(
        {}, {"offer_amount": 7.5, "merchant_id": 1, "channel": 4}, {"campaign_id": None, "merchant_id": 3}
    )
    assert events.offer_amount_micros == [5_000_000, 7_500_000, None]
    assert events.merchant_id == [9, 1, 3]
    assert events.channel == [2, 4, None]
    assert events.stamped_fields == [STAMPED_OFFER | STAMPED_MERCHANT | STAMPED_CHANNEL, 0, 0]
    assert events.currency_code == ["EUR", "EUR", "CHF"]


def test_a_purchase_at_an_unknown_merchant_and_outside_any_is_in_the_default_currency() -> None:
    outside = {"campaign_id": None, "event_type": 6, "revenue": None}
    assert stamped({"campaign_id": None, "merchant_id": 4}, outside).currency_code == ["USD", "USD"]


def test_nothing_is_stamped_from_an_empty_catalog_entry() -> None:
    empty = CampaignStamp(
        campaign_id="c1",
        currency_code="USD",
        is_currency_fixed=False,
        offer_amount_micros=None,
        merchant_id=None,
        channel=None,
    )
    events = stamped({}, stamp=empty)
    assert (events.offer_amount_micros, events.merchant_id, events.channel) == ([None], [None], [None])
    assert events.stamped_fields == [0]


def test_an_event_is_the_same_whatever_the_catalog_says_by_now() -> None:
    later = CampaignStamp(
        campaign_id="c1",
        currency_code="EUR",
        is_currency_fixed=True,
        offer_amount_micros=9_000_000,
        merchant_id=1,
        channel=None,
    )
    assert stamped({}).content(0) == stamped({}, stamp=later).content(0)


def test_an_offer_named_is_not_the_same_as_one_left_out() -> None:
    assert stamped({}).content(0) != stamped({"offer_amount": 5.0}).content(0)


def test_unset_money_is_the_same_as_zero() -> None:
    assert stamped({"cost": None}).content(0) == stamped({"cost": 0.0}).content(0)


def test_later_occurrences_of_an_identity_are_known() -> None:
    events = stamped({}, {"event_id": "e2"}, {"revenue": 1.0}, {"user_id": "u2"})
    assert first_occurrences(events) == [True, True, False, True]
    assert first_occurrences(stamped({}, {"event_id": "e2"})) == [True, True]


def test_repeats_are_duplicates_or_conflicts() -> None:
    events = stamped({}, {"revenue": 21.0})
    duplicates, conflicts = judge_repeats(events, {("u1", "e1"): stored(events)})
    assert duplicates == 1
    assert [(c.index, c.field, c.reason) for c in conflicts] == [(1, "event_id", "EVENT_ID_CONFLICT")]


def test_a_refund_inherits_from_its_original() -> None:
    original = stored(stamped({}))
    plan = plan_refunds(
        stamped(refund(campaign_id=None, offer_amount=8.0, merchant_id=3, channel=4)),
        {original.identity: original},
        [],
    )
    assert plan.rejections == []
    taken = plan.events
    assert taken.counted_micros == [10**15]
    assert taken.event_micros == [2 * 10**15]
    assert taken.campaign_id == ["c1"]
    assert (taken.merchant_id, taken.channel) == ([9], [original.channel])
    assert taken.offer_amount_micros == [5_000_000]
    assert taken.currency_code == ["EUR"]
    assert taken.stamped_fields == [STAMPED_CAMPAIGN]


def test_a_refund_is_the_same_whatever_it_says_of_offer_merchant_and_channel() -> None:
    told = stamped(refund(offer_amount=8.0, merchant_id=3, channel=4))
    assert told.content(0) == stamped(refund()).content(0)


def test_refunds_take_no_more_than_is_left() -> None:
    original = stored(stamped({}))
    earlier = [StoredRefund(original=original.identity, event_id="r0", revenue_micros=9_000_000)]
    rows = [
        refund(event_id=f"r{n}", revenue=amount) for n, amount in enumerate([9.0, 6.0, 6.0, 5.0, 0.000001])
    ]
    plan = plan_refunds(stamped(*rows), {original.identity: original}, earlier)
    assert plan.known.event_id == ["r0"]
    assert plan.events.event_id == ["r1", "r3"]
    assert [(r.index, r.field, r.reason) for r in plan.rejections] == [
        (2, "revenue", "REFUND_TOO_LARGE"),
        (4, "revenue", "REFUND_TOO_LARGE"),
    ]


def test_a_refund_repeated_in_its_batch_takes_once() -> None:
    original = stored(stamped({}))
    plan = plan_refunds(
        stamped(refund(revenue=15.0), refund(revenue=15.0)), {original.identity: original}, []
    )
    assert (len(plan.events), len(plan.known), plan.rejections) == (1, 1, [])


@pytest.mark.parametrize(
    ("original", "changes", "expected"),
    [
        (None, {}, ("original_event_id", "ORIGINAL_EVENT_UNKNOWN")),
        ({"event_type": 1, "revenue": None}, {}, ("original_event_id", "ORIGINAL_EVENT_UNKNOWN")),
        ({"campaign_id": None, "merchant_id": 3}, {}, ("campaign_id", "INVALID_FIELD")),
        ({"revenue": None}, {}, ("revenue", "REFUND_TOO_LARGE")),
    ],
)
def test_a_refund_without_a_fitting_original_is_rejected(
    original: dict[str, Any] | None, changes: dict[str, Any], expected: tuple[str, str]
) -> None:
    known = [] if original is None else [stored(stamped(original))]
    plan = plan_refunds(stamped(refund(**changes)), {event.identity: event for event in known}, [])
    assert [(r.field, r.reason) for r in plan.rejections] == [expected]
    assert len(plan.events) == 0
