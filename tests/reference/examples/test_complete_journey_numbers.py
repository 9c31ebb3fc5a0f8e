"""What the mapped events say, counted without any service.

The expected numbers were counted from the data's own tables: rows of `campaigns` and `coupon_redemptions` per
campaign, and `sales_value` of the transactions of one day, in New York and in UTC.
"""

import os
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from examples.complete_journey import mapping
from examples.complete_journey.loading import Journey
from examples.complete_journey.source import Source
from gen.campaigns.analytics.v1.events_pb2 import Event

SHARED = Path(os.environ.get("SHARED_DATA_DIR", Path(__file__).parents[4] / "shared" / "data"))
FOLDER = SHARED / "complete_journey"
INDEPENDENCE_DAY = date(2017, 7, 4)

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the Complete Journey files are not there")


@pytest.fixture(scope="module")
def journey() -> Journey:
    return Journey.read(Source.find(FOLDER))


def users_of(events: Iterable[Event], campaign_id: str) -> list[str]:
    return [event.user_id for event in events if event.campaign_id == campaign_id]


@pytest.mark.parametrize(
    ("campaign_id", "reached", "converting", "conversions"), [("13", 1_077, 196, 629), ("8", 1_076, 158, 372)]
)
def test_campaigns_reach_and_convert_as_the_data_says(
    journey: Journey, campaign_id: str, reached: int, converting: int, conversions: int
) -> None:
    receivers = users_of(mapping.delivery_messages(journey.deliveries, journey.campaigns), campaign_id)
    converters = users_of(mapping.redemption_messages(journey.redemptions), campaign_id)
    assert len(receivers) == len(set(receivers)) == reached
    assert len(set(converters)) == converting
    assert len(converters) == conversions
    assert set(converters) <= set(receivers)


@pytest.mark.parametrize(("zone", "cents"), [("America/New_York", 1_686_878), ("UTC", 1_789_573)])
def test_a_days_purchases_depend_on_whose_day_it_is(journey: Journey, zone: str, cents: int) -> None:
    around = np.abs(journey.lines.at_nanoseconds // 10**9 - 1_499_170_000) < 2 * 86_400
    total = sum(
        round(event.revenue * 100)
        for event in mapping.line_messages(journey.lines, journey.line_merchants, around)
        if datetime.fromtimestamp(event.event_time.seconds, UTC).astimezone(ZoneInfo(zone)).date()
        == INDEPENDENCE_DAY
    )
    assert total == cents


def test_every_line_has_a_name_of_its_own(journey: Journey) -> None:
    assert len(journey.lines) == 1_095_564
    names = {
        (event.user_id, event.event_id)
        for event in mapping.line_messages(
            journey.lines, journey.line_merchants, journey.lines.household_id % 10 == 0
        )
    }
    assert len(names) == int((journey.lines.household_id % 10 == 0).sum())
