"""How the Complete Journey data becomes campaigns, users, merchants and events.

The data (84.51°, 2017) tells which household received which coupon campaign, which coupons it handed in, and
every line of its baskets. It becomes:

| in the data | here |
|---|---|
| household | user `<household_id>`, time zone America/New_York, segments where demographics are known |
| campaign | campaign `<campaign_id>`, from local midnight of its first day to local midnight after its last |
| campaign type A, B, C | LOYALTY_REWARD, CROSS_SELL, LOCATION_DEAL (below) |
| a household received a campaign | DELIVERED at the campaign's start: the data has no time of it |
| coupon redemption | CONVERTED for its campaign, at noon of its local date: the data has no time of day |
| transaction line | plain purchase: CONVERTED without a campaign, revenue = sales value, at its own time |
| store | merchant `<store_id>` |
| manufacturer, by option | merchant `<manufacturer_id>`; 0 where the data does not describe the product |

- Type A coupons are picked for each household from what it bought before: a reward for loyalty. Types B and C
  give every receiver the same coupons: B's are for groups of products (a cross sell), C's are the stores' own
  long campaigns (a location deal). The three names are a convention; nothing is computed from their meaning.
- Transaction times are naive UTC, the households live in America/New_York; dates without a time are local.
- A redemption has no revenue of its own: what was paid is in the lines already, and counted once.
- Offer, channel, margin, views and clicks are not in the data and stay unset.
- An event's id is what the data knows it by: campaign; campaign, coupon and date; basket and product. Equal
  rows are numbered, so that each is an event and the same file always gives the same ids.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from examples.complete_journey.source import Campaigns, Deliveries, Lines, Products, Redemptions
from gen.campaigns.analytics.v1.catalog_service_pb2 import Campaign, Merchant, User
from gen.campaigns.analytics.v1.events_pb2 import Event, EventType
from gen.campaigns.type.v1.campaign_pb2 import CampaignType

MerchantKind = Literal["store", "manufacturer"]

TIME_ZONE: Final = "America/New_York"
CURRENCY: Final = "USD"
UNKNOWN_MANUFACTURER: Final = 0
CAMPAIGN_TYPES: Final = {
    "Type A": CampaignType.CAMPAIGN_TYPE_LOYALTY_REWARD,
    "Type B": CampaignType.CAMPAIGN_TYPE_CROSS_SELL,
    "Type C": CampaignType.CAMPAIGN_TYPE_LOCATION_DEAL,
}
SEGMENT_PREFIXES: Final = {"age": "age", "income": "income", "household_comp": "household"}

_ZONE: Final = ZoneInfo(TIME_ZONE)
_NANOSECONDS: Final = 1_000_000_000
_ROWS_AT_ONCE: Final = 50_000


def user_messages(
    household_ids: Iterable[int], demographics: dict[int, dict[str, str | None]]
) -> Iterator[User]:
    """The households, each with segments such as `age:45-54`."""
    for household in sorted(set(household_ids)):
        known = demographics.get(household, {})
        segments = [f"{prefix}:{known[name]}" for name, prefix in SEGMENT_PREFIXES.items() if known.get(name)]
        yield User(user_id=str(household), time_zone=TIME_ZONE, segments=segments)


def campaign_messages(campaigns: Campaigns) -> Iterator[Campaign]:
    """The campaigns."""
    for identity, kind, first, last in zip(
        campaigns.campaign_id, campaigns.campaign_type, campaigns.start_date, campaigns.end_date, strict=True
    ):
        yield Campaign(
            campaign_id=str(identity),
            campaign_name=f"Campaign {identity} ({kind})",
            campaign_type=CAMPAIGN_TYPES[kind],
            currency_code=CURRENCY,
            start_time=_local(first, time()),
            end_time=_local(last + timedelta(days=1), time()),
        )


def store_messages(lines: Lines) -> Iterator[Merchant]:
    """The stores that lines name."""
    for store in np.unique(lines.store_id).tolist():
        yield Merchant(
            merchant_id=store, merchant_name=f"Store {store}", category="grocery", currency_code=CURRENCY
        )


def manufacturer_messages(products: Products) -> Iterator[Merchant]:
    """The manufacturers, each with the department of most of its products as its category."""
    departments: dict[int, Counter[str]] = {}
    for manufacturer, department in zip(products.manufacturer_id.tolist(), products.department, strict=True):
        departments.setdefault(manufacturer, Counter())[department or ""] += 1
    yield Merchant(
        merchant_id=UNKNOWN_MANUFACTURER, merchant_name="Unknown manufacturer", currency_code=CURRENCY
    )
    for manufacturer, counts in sorted(departments.items()):
        yield Merchant(
            merchant_id=manufacturer,
            merchant_name=f"Manufacturer {manufacturer}",
            category=counts.most_common(1)[0][0].lower(),
            currency_code=CURRENCY,
        )


def delivery_messages(deliveries: Deliveries, campaigns: Campaigns) -> Iterator[Event]:
    """One DELIVERED per household and campaign, at the campaign's start."""
    starts = {
        identity: _local(first, time())
        for identity, first in zip(campaigns.campaign_id, campaigns.start_date, strict=True)
    }
    rows = list(zip(deliveries.campaign_id, deliveries.household_id, strict=True))
    for (campaign, household), number in zip(rows, _numbers(rows), strict=True):
        yield Event(
            event_id=f"delivery-{campaign}-{number}",
            event_type=EventType.EVENT_TYPE_DELIVERED,
            campaign_id=str(campaign),
            user_id=str(household),
            event_time=starts[campaign],
        )


def redemption_messages(redemptions: Redemptions) -> Iterator[Event]:
    """One CONVERTED per redemption, at noon of its local date."""
    rows = list(
        zip(
            redemptions.household_id,
            redemptions.campaign_id,
            redemptions.coupon_upc,
            redemptions.redemption_date,
            strict=True,
        )
    )
    for (household, campaign, coupon, day), number in zip(rows, _numbers(rows), strict=True):
        yield Event(
            event_id=f"redemption-{campaign}-{coupon}-{day:%Y%m%d}-{number}",
            event_type=EventType.EVENT_TYPE_CONVERTED,
            campaign_id=str(campaign),
            user_id=str(household),
            event_time=_local(day, time(12)),
        )


def line_merchants(lines: Lines, products: Products | None) -> NDArray[np.int64]:
    """The merchant of every line: the manufacturer of its product, or without products its store."""
    if products is None:
        return lines.store_id
    position = np.searchsorted(products.product_id, lines.product_id)
    position = np.minimum(position, len(products.product_id) - 1)
    known = products.product_id[position] == lines.product_id
    return np.where(known, products.manufacturer_id[position], UNKNOWN_MANUFACTURER)


def line_messages(
    lines: Lines, merchants: NDArray[np.int64], where: NDArray[np.bool_] | None = None
) -> Iterator[Event]:
    """One plain purchase per line; `where` leaves out lines without changing the others' ids."""
    numbers = occurrence_numbers(lines.basket_id, lines.product_id)
    wanted = np.arange(len(lines)) if where is None else np.flatnonzero(where)
    for start in range(0, len(wanted), _ROWS_AT_ONCE):
        part = wanted[start : start + _ROWS_AT_ONCE]
        seconds, nanoseconds = np.divmod(lines.at_nanoseconds[part], _NANOSECONDS)
        rows = zip(
            lines.household_id[part].tolist(),
            lines.basket_id[part].tolist(),
            lines.product_id[part].tolist(),
            numbers[part].tolist(),
            merchants[part].tolist(),
            seconds.tolist(),
            nanoseconds.tolist(),
            lines.sales_value[part].tolist(),
            strict=True,
        )
        for household, basket, product, number, merchant, second, nanosecond, value in rows:
            yield Event(
                event_id=f"line-{basket}-{product}-{number}",
                event_type=EventType.EVENT_TYPE_CONVERTED,
                user_id=str(household),
                merchant_id=merchant,
                event_time=Timestamp(seconds=second, nanos=nanosecond),
                revenue=round(value, 2),
            )


def occurrence_numbers(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """1 for a pair's first row, 2 for the next equal one, and so on, in the order of the rows."""
    order = np.lexsort((np.arange(len(first)), second, first))
    is_new = np.ones(len(order), dtype=np.bool_)
    is_new[1:] = (np.diff(first[order]) != 0) | (np.diff(second[order]) != 0)
    position = np.arange(len(order))
    group_start = np.maximum.accumulate(np.where(is_new, position, 0))
    numbers = np.empty(len(order), dtype=np.int64)
    numbers[order] = position - group_start + 1
    return numbers


def _numbers(rows: Sequence[tuple[object, ...]]) -> Iterator[int]:
    """The same for any rows."""
    seen: Counter[tuple[object, ...]] = Counter()
    for row in rows:
        seen[row] += 1
        yield seen[row]


def _local(day: date, at: time) -> Timestamp:
    """The moment of a local date and time."""
    return Timestamp(seconds=int(datetime.combine(day, at, _ZONE).timestamp()))
