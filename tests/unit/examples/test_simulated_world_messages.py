from datetime import UTC, date, datetime, timedelta

import pytest

from examples.simulated_world import __main__ as command_line
from examples.simulated_world.columns import Kind
from examples.simulated_world.loading import History
from examples.simulated_world.messages import campaign_messages, merchant_messages, user_messages
from gen.campaigns.analytics.v1.events_pb2 import Event, EventType
from gen.campaigns.type.v1.campaign_pb2 import Channel

MORNING = datetime(2026, 11, 21, 13, 30, tzinfo=UTC)
SCALE = 0.05


def history(as_of: datetime = MORNING, *, seed: int = 1, end_date: date | None = None) -> History:
    return History.build(seed=seed, as_of=as_of, end_date=end_date, scale=SCALE)


def all_events(of: History) -> list[Event]:
    return [*of.events(refunds=False), *of.events(refunds=True)]


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return all_events(history())


def test_no_event_lies_in_the_future(events: list[Event]) -> None:
    latest = max(event.event_time.seconds for event in events)
    assert MORNING - timedelta(hours=1) < datetime.fromtimestamp(latest, UTC) <= MORNING


def test_a_load_later_on_the_day_adds_and_changes_nothing(events: list[Event]) -> None:
    later = {
        (event.user_id, event.event_id): event for event in all_events(history(MORNING.replace(hour=20)))
    }
    assert len(later) > len(events)
    for event in events:
        assert later[event.user_id, event.event_id] == event


@pytest.mark.parametrize(
    "other",
    [
        history(seed=2),
        history(MORNING + timedelta(days=1)),
        History.build(seed=1, as_of=MORNING, scale=0.04),
    ],
    ids=["seed", "end date", "scale"],
)
def test_worlds_that_differ_share_no_event(events: list[Event], other: History) -> None:
    assert not other.prefix.startswith(f"{history().prefix}.")
    first = next(other.events(refunds=False))
    assert first.event_id not in {event.event_id for event in events}


def test_a_load_that_began_yesterday_goes_on_with_yesterdays_world() -> None:
    begun = history(end_date=MORNING.date() - timedelta(days=1))
    assert begun.world.dates[-1] == date(2026, 11, 20)
    assert begun.prefix == history(MORNING - timedelta(days=1)).prefix


def test_identities_are_unique_and_within_bounds(events: list[Event]) -> None:
    assert len({(event.user_id, event.event_id) for event in events}) == len(events)
    assert max(len(event.event_id) for event in events) <= 128


def test_a_refund_names_its_conversion(events: list[Event]) -> None:
    bought = {
        (event.user_id, event.event_id): event
        for event in events
        if event.event_type == EventType.EVENT_TYPE_CONVERTED
    }
    refunds = [event for event in events if event.event_type == EventType.EVENT_TYPE_REFUNDED]
    assert refunds
    for refund in refunds:
        original = bought[refund.user_id, refund.original_event_id]
        assert (refund.campaign_id, refund.revenue) == (original.campaign_id, original.revenue)


def test_campaign_events_say_what_was_sent(events: list[Event]) -> None:
    of_campaigns = [event for event in events if event.HasField("campaign_id")]
    for event in of_campaigns:
        assert 5.0 <= event.offer_amount <= 25.0
        assert event.channel != Channel.CHANNEL_UNSPECIFIED
        assert event.HasField("propensity") == bool(event.policy_version)


def test_what_happens_outside_campaigns_has_no_campaign(events: list[Event]) -> None:
    outside = [event for event in events if not event.HasField("campaign_id")]
    assert {event.event_type for event in outside} == {
        EventType.EVENT_TYPE_CONVERTED,
        EventType.EVENT_TYPE_GEOFENCE_ENTERED,
    }
    assert not any(event.HasField("offer_amount") or event.HasField("cost") for event in outside)


def test_only_openings_are_by_machines(events: list[Event]) -> None:
    machines = [event for event in events if event.is_machine_open]
    assert machines
    assert {event.event_type for event in machines} == {EventType.EVENT_TYPE_NOTIFICATION_OPENED}
    assert {event.channel for event in machines} == {Channel.CHANNEL_EMAIL}


def test_the_catalog_holds_everything_that_events_name(events: list[Event]) -> None:
    world = history().world
    campaigns = campaign_messages(world)
    assert {event.campaign_id for event in events} - {""} <= {campaign.campaign_id for campaign in campaigns}
    assert {event.user_id for event in events} <= {user.user_id for user in user_messages(world)}
    assert {event.merchant_id for event in events} <= {m.merchant_id for m in merchant_messages(world)}
    assert {campaign.campaign_type for campaign in campaigns} == set(range(1, 8))


def test_most_campaigns_still_run_and_some_are_over() -> None:
    ends = [campaign.end_time.ToDatetime(tzinfo=UTC) for campaign in campaign_messages(history().world)]
    running = sum(end > MORNING for end in ends)
    assert 100 < running < 180


def test_summary_counts_what_would_be_sent(events: list[Event], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["summary", "--as-of", MORNING.isoformat(), "--scale", str(SCALE)]
    assert command_line.main(arguments) == 0
    assert f"{len(events):,} events" in capsys.readouterr().out
    assert sum(history().counts().values()) == len(events)
    assert history().counts()[Kind.DELIVERED] > 0


@pytest.mark.parametrize(
    "arguments", [["--as-of", "2026-11-21T12:00:00"], ["--scale", "0"], ["--end-date", "21.11.2026"]]
)
def test_wrong_arguments_are_refused_by_name(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        command_line.main(["summary", *arguments])
    assert stop.value.code == 2
    assert arguments[0] in capsys.readouterr().err
