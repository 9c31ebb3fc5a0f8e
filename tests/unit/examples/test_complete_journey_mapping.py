from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from examples.complete_journey import __main__ as command_line
from examples.complete_journey import mapping, source
from examples.complete_journey.loading import Journey
from examples.complete_journey.source import Campaigns, Deliveries, Redemptions, Source, SourceError
from gen.campaigns.analytics.v1.events_pb2 import Event, EventType
from gen.campaigns.type.v1.campaign_pb2 import CampaignType

MIDNIGHT_IN_UTC_ON_4_JULY = datetime(2017, 7, 4, 23, 59, 59)  # noqa: DTZ001 (naive, as in the files)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two campaigns, three households, four lines: two of them equal, one of an unknown product."""
    tables = {
        "campaign_descriptions": {
            "campaign_id": [8, 13],
            "campaign_type": ["Type A", "Type C"],
            "start_date": [datetime(2017, 5, 8), datetime(2017, 1, 2)],  # noqa: DTZ001
            "end_date": [datetime(2017, 6, 25), datetime(2017, 3, 12)],  # noqa: DTZ001
        },
        "campaigns": {"campaign_id": [8, 13, 13], "household_id": [1, 1, 2]},
        "coupon_redemptions_jan_sep": {
            "household_id": [1, 1, 2],
            "coupon_upc": [511, 511, 522],
            "campaign_id": [8, 8, 13],
            "redemption_date": [datetime(2017, 5, 9), datetime(2017, 5, 9), datetime(2017, 3, 1)],  # noqa: DTZ001
        },
        "transactions_jan_sep": {
            "household_id": [1, 1, 2, 3],
            "store_id": [330, 330, 406, 330],
            "basket_id": [71, 71, 72, 73],
            "product_id": [1001, 1001, 1002, 9999],
            "sales_value": [0.5, 0.5, 1.43, 0.0],
            "transaction_timestamp": [MIDNIGHT_IN_UTC_ON_4_JULY] * 4,
        },
        "products": {
            "product_id": [1002, 1001],
            "manufacturer_id": [69, 2],
            "department": ["PASTRY", "GROCERY"],
        },
        "demographics": {
            "household_id": [1],
            "age": ["45-54"],
            "income": [None],
            "household_comp": ["2 Adults Kids"],
        },
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    return tmp_path


@pytest.fixture
def journey(folder: Path) -> Journey:
    return Journey.read(Source.find(folder))


def line_events(journey: Journey) -> list[Event]:
    return list(mapping.line_messages(journey.lines, journey.line_merchants))


def utc(event: Event) -> datetime:
    return event.event_time.ToDatetime(tzinfo=UTC)


def test_a_delivery_is_at_local_midnight_of_the_campaigns_first_day(journey: Journey) -> None:
    events = list(mapping.delivery_messages(journey.deliveries, journey.campaigns))
    assert [(event.user_id, event.campaign_id) for event in events] == [("1", "8"), ("1", "13"), ("2", "13")]
    assert {event.event_type for event in events} == {EventType.EVENT_TYPE_DELIVERED}
    # New York is four hours behind UTC in May and five in January.
    assert utc(events[0]) == datetime(2017, 5, 8, 4, tzinfo=UTC)
    assert utc(events[1]) == datetime(2017, 1, 2, 5, tzinfo=UTC)


def test_a_redemption_is_a_conversion_without_revenue_on_its_local_date(journey: Journey) -> None:
    events = list(mapping.redemption_messages(journey.redemptions))
    assert [event.campaign_id for event in events] == ["8", "8", "13"]
    assert {event.event_type for event in events} == {EventType.EVENT_TYPE_CONVERTED}
    assert not any(event.HasField("revenue") or event.HasField("merchant_id") for event in events)
    assert utc(events[0]) == datetime(2017, 5, 9, 16, tzinfo=UTC)
    assert utc(events[2]) == datetime(2017, 3, 1, 17, tzinfo=UTC)


def test_a_line_is_a_plain_purchase_at_its_own_utc_time(journey: Journey) -> None:
    events = line_events(journey)
    assert [event.revenue for event in events] == [0.5, 0.5, 1.43, 0.0]
    assert [event.merchant_id for event in events] == [330, 330, 406, 330]
    assert not any(event.HasField("campaign_id") or event.HasField("offer_amount") for event in events)
    assert utc(events[0]) == MIDNIGHT_IN_UTC_ON_4_JULY.replace(tzinfo=UTC)


def test_equal_rows_are_events_of_their_own_with_lasting_names(journey: Journey) -> None:
    lines, redemptions = line_events(journey), list(mapping.redemption_messages(journey.redemptions))
    assert [event.event_id for event in lines[:2]] == ["line-71-1001-1", "line-71-1001-2"]
    assert [event.event_id for event in redemptions[:2]] == [
        "redemption-8-511-20170509-1",
        "redemption-8-511-20170509-2",
    ]
    second = list(
        mapping.line_messages(
            journey.lines, journey.line_merchants, where=np.array([False, True, False, False])
        )
    )
    assert second == [lines[1]]


def test_occurrences_are_numbered_in_the_order_of_the_rows() -> None:
    first = np.array([5, 7, 5, 5, 7])
    second = np.array([1, 1, 1, 2, 1])
    assert mapping.occurrence_numbers(first, second).tolist() == [1, 1, 2, 1, 2]


def test_by_option_the_merchant_is_the_manufacturer(folder: Path) -> None:
    journey = Journey.read(Source.find(folder), merchant="manufacturer")
    assert [event.merchant_id for event in line_events(journey)] == [2, 2, 69, mapping.UNKNOWN_MANUFACTURER]
    assert {merchant.merchant_id: merchant.category for merchant in journey.merchants} == {
        mapping.UNKNOWN_MANUFACTURER: "",
        2: "grocery",
        69: "pastry",
    }


def test_campaigns_are_mapped_and_what_is_not_known_stays_unset(journey: Journey) -> None:
    first, second = mapping.campaign_messages(journey.campaigns)
    assert first.campaign_type == CampaignType.CAMPAIGN_TYPE_LOYALTY_REWARD
    assert second.campaign_type == CampaignType.CAMPAIGN_TYPE_LOCATION_DEAL
    assert first.start_time.ToDatetime(tzinfo=UTC) == datetime(2017, 5, 8, 4, tzinfo=UTC)
    assert first.end_time.ToDatetime(tzinfo=UTC) == datetime(2017, 6, 26, 4, tzinfo=UTC)
    # New York's clocks went forward on 12 March 2017: the midnight after it is four hours behind UTC.
    assert second.end_time.ToDatetime(tzinfo=UTC) == datetime(2017, 3, 13, 4, tzinfo=UTC)
    for campaign in (first, second):
        assert not campaign.HasField("offer_amount")
        assert not campaign.HasField("merchant_id")
        assert not campaign.HasField("gross_margin_rate")
        assert campaign.channel == 0


def test_every_household_is_a_user_with_the_segments_that_are_known(journey: Journey) -> None:
    assert [user.user_id for user in journey.users] == ["1", "2", "3"]
    assert {user.time_zone for user in journey.users} == {"America/New_York"}
    assert list(journey.users[0].segments) == ["age:45-54", "household:2 Adults Kids"]
    assert list(journey.users[1].segments) == []


def test_a_missing_table_is_named(folder: Path) -> None:
    (folder / "campaigns.parquet").unlink()
    with pytest.raises(SourceError, match=r"campaigns\.parquet"):
        Journey.read(Source.find(folder))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere"):
        Source.find(tmp_path / "nowhere")


def test_without_folder_and_package_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(source, "PACKAGE", "no_such_package_anywhere")
    assert command_line.main(["summary"]) == 1
    assert "requirements/complete_journey.txt" in capsys.readouterr().err


def test_summary_prints_the_sizes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["summary", "--data", str(folder)]) == 0
    assert "4 transaction lines" in capsys.readouterr().out


def test_dates_are_calendar_dates(folder: Path) -> None:
    found = Source.find(folder)
    assert found.campaigns() == Campaigns(
        campaign_id=[8, 13],
        campaign_type=["Type A", "Type C"],
        start_date=[date(2017, 5, 8), date(2017, 1, 2)],
        end_date=[date(2017, 6, 25), date(2017, 3, 12)],
    )
    assert found.deliveries() == Deliveries(campaign_id=[8, 13, 13], household_id=[1, 1, 2])
    assert isinstance(found.redemptions(), Redemptions)
