from dataclasses import fields
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from examples.simulated_world import response
from examples.simulated_world.campaigns import CHANNELS, EMAIL
from examples.simulated_world.columns import MICROS, NONE, EventColumns, Kind
from examples.simulated_world.events import generate_days
from examples.simulated_world.population import CITIES, LIFECYCLES
from examples.simulated_world.truth import Truth
from examples.simulated_world.world import World

# The window of 90 days before this one holds the end of daylight saving time, 1 November 2026.
END_DATE = date(2026, 11, 21)
LAPSED = LIFECYCLES.index("lapsed")


@pytest.fixture(scope="module")
def world() -> World:
    return World.build(seed=1, end_date=END_DATE)


@pytest.fixture(scope="module")
def events(world: World) -> EventColumns:
    return EventColumns.concatenate(list(generate_days(world)))


@pytest.fixture(scope="module")
def truth(world: World) -> Truth:
    return Truth.of(world)


def of_kind(events: EventColumns, kind: Kind) -> EventColumns:
    return events.take(events.kind == kind)


def test_world_has_the_promised_size(world: World, events: EventColumns) -> None:
    assert len(world.campaigns.names) == 200
    assert len(np.unique(world.campaigns.campaign_type)) == 7
    assert len(world.merchants.names) == 50
    assert len(world.users.city) == 5_000
    assert len(world.dates) == 90
    assert 1_350_000 < len(events) < 1_650_000


def test_every_kind_of_event_happens(events: EventColumns) -> None:
    assert set(np.unique(events.kind)) == set(Kind)


def test_same_seed_and_end_date_give_the_same_events() -> None:
    first, second = (
        EventColumns.concatenate(list(generate_days(World.build(seed=7, end_date=END_DATE), scale=0.02)))
        for _ in range(2)
    )
    for field in fields(EventColumns):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))


@pytest.mark.parametrize("seed", range(3, 9))
def test_worlds_of_any_seed_can_be_generated(seed: int) -> None:
    days = list(generate_days(World.build(seed=seed, end_date=date(2026, 6, 30)), scale=0.01))
    assert len(days) == 90
    assert sum(map(len, days)) > 10_000


def test_another_seed_gives_another_world(world: World) -> None:
    other = World.build(seed=2, end_date=END_DATE)
    assert not np.array_equal(world.users.hour_profile, other.users.hour_profile)
    assert not np.array_equal(world.campaigns.offer, other.campaigns.offer, equal_nan=True)


def test_scale_shrinks_the_events_and_keeps_the_catalog(world: World, events: EventColumns) -> None:
    small = sum(len(part) for part in generate_days(world, scale=0.05))
    assert small == pytest.approx(0.05 * len(events), rel=0.05)


def test_an_event_is_named_once(events: EventColumns) -> None:
    identity = ((events.day * 1_000_000 + events.row) * 100 + events.kind) * 10_000 + events.user
    assert len(np.unique(identity)) == len(events)


def test_events_come_in_order_of_time(world: World) -> None:
    for part in generate_days(world, scale=0.01):
        assert (np.diff(part.at) >= 0).all()


@pytest.mark.parametrize("city", range(len(CITIES)))
def test_deliveries_fall_into_the_waking_hours_of_the_users_zone(
    world: World, events: EventColumns, city: int
) -> None:
    sent = of_kind(events, Kind.DELIVERED)
    sample = sent.take(world.users.city[sent.user] == city).at[::50]
    zone = ZoneInfo(CITIES[city].time_zone)
    local = [datetime.fromtimestamp(int(at), UTC).astimezone(zone) for at in sample]
    assert {moment.hour for moment in local} == set(range(7, 23))


def test_a_day_starts_an_hour_later_in_utc_once_daylight_saving_ends(world: World) -> None:
    user = np.flatnonzero(world.users.city == 0)[:1]
    seven = np.array([7 * 3600])
    before, after = (
        datetime.fromtimestamp(int(world.to_utc_seconds(user, world.dates.index(day), seven)[0]), UTC)
        for day in (date(2026, 10, 31), date(2026, 11, 1))
    )
    assert (before.hour, after.hour) == (11, 12)


def test_views_follow_the_users_hours(world: World, events: EventColumns) -> None:
    sent, seen = of_kind(events, Kind.DELIVERED), of_kind(events, Kind.VIEWED)
    hour = (sent.at - world.noon_utc[world.users.city[sent.user], sent.day]) // 3600 + 12
    profile = world.users.hour_profile[sent.user, hour]
    viewed = np.isin(sent.day * 1_000_000 + sent.row, seen.day * 1_000_000 + seen.row)
    for low, high in ((0.0, 0.2), (0.4, 0.6), (0.8, 1.01)):
        among = (profile >= low) & (profile < high)
        expected = response.view_probability(profile[among]).mean()
        assert viewed[among].mean() == pytest.approx(expected, abs=0.01)


def test_a_conversion_is_a_viewed_and_clicked_delivery(events: EventColumns) -> None:
    def sources(kind: Kind) -> set[tuple[int, int]]:
        some = of_kind(events, kind)
        return set(zip(some.day.tolist(), some.row.tolist(), strict=True))

    assert sources(Kind.CONVERTED) < sources(Kind.CLICKED) < sources(Kind.VIEWED) < sources(Kind.DELIVERED)


def test_refunds_follow_their_conversions_with_the_same_amount(events: EventColumns) -> None:
    bought, returned = of_kind(events, Kind.CONVERTED), of_kind(events, Kind.REFUNDED)
    original = {
        key: (at, revenue)
        for *key_parts, at, revenue in zip(
            bought.day.tolist(),
            bought.row.tolist(),
            bought.at.tolist(),
            bought.revenue_micros.tolist(),
            strict=True,
        )
        for key in [tuple(key_parts)]
    }
    for day, row, at, revenue in zip(
        returned.day.tolist(),
        returned.row.tolist(),
        returned.at.tolist(),
        returned.revenue_micros.tolist(),
        strict=True,
    ):
        bought_at, bought_for = original[day, row]
        assert at >= bought_at + 2 * 86_400
        assert revenue == bought_for


def test_an_unsubscribed_user_is_left_alone(events: EventColumns) -> None:
    left, sent = of_kind(events, Kind.UNSUBSCRIBED), of_kind(events, Kind.DELIVERED)
    last_day = np.full(5_000, 1_000)
    last_day[left.user] = left.day
    assert len(left) > 50
    assert (sent.day <= last_day[sent.user]).all()


def test_nothing_happens_before_the_sign_up(world: World, events: EventColumns) -> None:
    assert (events.day >= world.users.sign_up_day[events.user]).all()


def test_offers_are_steps_and_change_within_campaigns(world: World, events: EventColumns) -> None:
    sent = of_kind(events, Kind.DELIVERED)
    assert set(np.unique(sent.offer_micros / MICROS)) == set(response.OFFER_LEVELS)
    offers_per_campaign = [len(np.unique(sent.offer_micros[sent.campaign == index])) for index in range(200)]
    assert min(offers_per_campaign) >= 2
    assert np.mean(offers_per_campaign) > 5


def test_propensities_are_logged_where_the_offer_was_drawn(world: World, events: EventColumns) -> None:
    sent = of_kind(events, Kind.DELIVERED)
    drawn = world.campaigns.randomised[sent.campaign]
    np.testing.assert_array_equal(~np.isnan(sent.propensity), drawn)
    assert 0.05 < drawn.mean() < 0.3
    for propensity, share in ((0.5, 0.5), (0.25, 0.5)):
        assert (sent.propensity[drawn] == propensity).mean() == pytest.approx(share, abs=0.01)


def test_higher_offers_go_to_lapsed_users_unless_drawn(world: World, events: EventColumns) -> None:
    sent = of_kind(events, Kind.DELIVERED)
    lapsed = world.users.lifecycle[sent.user] == LAPSED
    drawn = world.campaigns.randomised[sent.campaign]
    high, low = sent.offer_micros >= 20 * MICROS, sent.offer_micros <= 10 * MICROS
    assert lapsed[high & ~drawn].mean() > lapsed[low & ~drawn].mean() + 0.1
    assert lapsed[high & drawn].mean() == pytest.approx(lapsed[low & drawn].mean(), abs=0.02)


def test_machine_opens_are_of_mails_alone(events: EventColumns) -> None:
    opened = of_kind(events, Kind.MACHINE_OPENED)
    assert CHANNELS[EMAIL] == "email"
    assert (opened.channel == EMAIL).all()


def test_money_is_whole_cents_and_only_where_it_belongs(events: EventColumns) -> None:
    with_revenue = {Kind.CONVERTED, Kind.REFUNDED, Kind.PURCHASED}
    for kind in Kind:
        revenue = of_kind(events, kind).revenue_micros
        if kind in with_revenue:
            assert (revenue >= MICROS).all()
            assert (revenue % 10_000 == 0).all()
        else:
            assert (revenue == NONE).all()
    np.testing.assert_array_equal(
        of_kind(events, Kind.CONVERTED).cost_micros, of_kind(events, Kind.CONVERTED).offer_micros
    )


def test_conversion_rises_with_the_offer_and_saturates(truth: Truth) -> None:
    steps = np.diff(truth.conversion_curve, axis=1)
    assert (steps > 0).all()
    assert (steps[:, -1] < 0.5 * steps.max(axis=1)).all()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_best_offer_for_profit_lies_in_the_interior(seed: int) -> None:
    truth = Truth.of(World.build(seed=seed, end_date=END_DATE))
    inner = (truth.best_offer_for_profit >= 7.0) & (truth.best_offer_for_profit <= 24.5)
    assert inner.all()
    assert truth.best_offer_for_profit.std() > 2.0
    np.testing.assert_array_equal(truth.best_offer_for_conversion, np.full(200, response.MAX_OFFER))


def test_randomised_campaigns_convert_as_the_truth_says(
    world: World, events: EventColumns, truth: Truth
) -> None:
    seen, bought = of_kind(events, Kind.VIEWED), of_kind(events, Kind.CONVERTED)
    for offer in (10.0, 15.0, 20.0):
        views, conversions = (
            np.bincount(
                some.campaign[
                    world.campaigns.randomised[some.campaign] & (some.offer_micros == offer * MICROS)
                ],
                minlength=200,
            )
            for some in (seen, bought)
        )
        expected = views @ truth.conversion_curve[:, round((offer - 5.0) / 0.5)] / views.sum()
        assert conversions.sum() / views.sum() == pytest.approx(expected, abs=0.03)


def test_the_truth_ranks_a_users_hours_and_merchants(
    world: World, truth: Truth, events: EventColumns
) -> None:
    np.testing.assert_allclose(truth.visit_probability.sum(axis=1), 1.0)
    assert (world.users.hour_profile[np.arange(5_000), truth.best_hours[:, 0]] == 1.0).all()
    bought = of_kind(events, Kind.PURCHASED)
    first_choice = truth.preferred_merchants[bought.user, 0] - 1
    expected = truth.visit_probability.max(axis=1)[bought.user].mean()
    assert (bought.merchant == first_choice).mean() == pytest.approx(expected, abs=0.01)


def test_keeping_the_current_offer_is_not_good_enough(world: World, truth: Truth) -> None:
    offered = world.campaigns.offer
    last = np.array([row[~np.isnan(row)][-1] for row in offered])
    miss = np.abs(last - truth.best_offer_for_profit)
    assert miss.mean() > 3.0
    assert (miss <= 2.0).mean() < 0.5
