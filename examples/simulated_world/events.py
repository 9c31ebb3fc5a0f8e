"""The event generator: one local day after the other, vectorised over all campaigns and users.

A day's events are columns; an event's id comes from the row that it stems from, so the same seed and end day
give the same events whenever they are generated.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from examples.simulated_world import response
from examples.simulated_world.campaigns import EMAIL, PUSH
from examples.simulated_world.columns import HOUR_SECONDS, MICROS, NONE, EventColumns, IntColumn, Kind
from examples.simulated_world.population import (
    FIRST_WAKING_HOUR,
    LAST_WAKING_HOUR,
    LIFECYCLES,
    USER_COUNT,
    Users,
)
from examples.simulated_world.response import FloatArray
from examples.simulated_world.world import World

USUAL_HOUR_SHARE: Final = 0.4
CLICK_WITHOUT_CONVERSION: Final = 0.25
REFUND_SHARE: Final = 0.02
UNSUBSCRIBE_SHARE: Final = 0.0012
MACHINE_OPEN_SHARE: Final = 0.35
GEOFENCE_PER_DAY: Final = 14.0 / 90.0
LIKED_SHARE: Final = 0.5
BASKET_SPREAD: Final = 0.35
DELIVERY_COST_MICROS: Final[IntColumn] = np.array([2_000, 1_000, 12_000, 0])
PROPENSITIES: Final[FloatArray] = np.array([0.25, 0.50, 0.25])


def generate_days(world: World, *, scale: float = 1.0) -> Iterator[EventColumns]:
    """Yield the world's events, one part per local day, 90 parts.

    `scale` multiplies audiences, purchases and passings-by; the catalog stays. Times run past the window's
    end by some hours: the caller cuts at its own now (`take(columns.at <= now)`).
    """
    subscribed = np.ones(USER_COUNT, dtype=np.bool_)
    refunds: dict[int, list[EventColumns]] = {}
    for day in range(len(world.dates)):
        rng = np.random.default_rng([world.seed, 2, day])
        deliveries = _deliver(rng, world, day, subscribed, scale)
        funnel = _follow(rng, world, deliveries)
        for due, part in _refund(rng, funnel):
            refunds.setdefault(day + due, []).append(part)
        unsubscribed = funnel.user[funnel.kind == Kind.UNSUBSCRIBED]
        subscribed[unsubscribed] = False
        parts = [funnel, _purchase(rng, world, day, scale), _pass_by(rng, world, day, scale)]
        yield EventColumns.concatenate(parts + refunds.pop(day, []))


@dataclass(frozen=True, kw_only=True)
class _Deliveries:
    """A day's deliveries: who gets which campaign's offer at which local hour."""

    events: EventColumns
    local_hour: NDArray[np.intp]
    day_noise: FloatArray


def _deliver(
    rng: np.random.Generator, world: World, day: int, subscribed: NDArray[np.bool_], scale: float
) -> _Deliveries:
    campaigns, users = world.campaigns, world.users
    sends = ~np.isnan(campaigns.offer[:, day]) & campaigns.sends_on[:, world.weekdays[day]]
    reachable = subscribed & (users.sign_up_day < day)
    nobody = np.empty(0, dtype=np.intp)
    chosen_users, chosen_campaigns = [nobody], [nobody]
    for campaign in np.flatnonzero(sends):
        merchant_city = world.merchants.city[campaigns.merchant[campaign]]
        pool = np.flatnonzero(reachable & (users.city == merchant_city))
        size = min(len(pool), int(rng.poisson(campaigns.audience[campaign] * scale)))
        lean = campaigns.tilt[campaign, day] * (users.lifecycle[pool] == LIFECYCLES.index("lapsed"))
        lean -= campaigns.tilt[campaign, day] * (users.lifecycle[pool] == LIFECYCLES.index("loyal"))
        chosen_users.append(pool[np.argsort(-(lean + rng.gumbel(size=len(pool))))[:size]])
        chosen_campaigns.append(np.full(size, campaign))
    user = np.concatenate(chosen_users)
    campaign_of = np.concatenate(chosen_campaigns)
    count = len(user)
    hour = _draw_send_hours(rng, campaigns.usual_hour[campaign_of])
    offer, propensity = _draw_offers(
        rng, campaigns.offer[campaign_of, day], campaigns.randomised[campaign_of]
    )
    channel = campaigns.channel[campaign_of]
    events = EventColumns(
        kind=np.full(count, Kind.DELIVERED),
        at=world.to_utc_seconds(user, day, hour * HOUR_SECONDS + rng.integers(0, HOUR_SECONDS, count)),
        day=np.full(count, day),
        row=np.arange(count),
        user=user,
        campaign=campaign_of,
        merchant=campaigns.merchant[campaign_of],
        channel=channel,
        offer_micros=np.rint(offer * MICROS).astype(np.int64),
        revenue_micros=np.full(count, NONE),
        cost_micros=DELIVERY_COST_MICROS[channel],
        propensity=propensity,
    )
    noise = rng.normal(0, response.CAMPAIGN_DAY_NOISE, len(campaigns.names))[campaign_of]
    return _Deliveries(events=events, local_hour=hour, day_noise=noise)


def _draw_send_hours(rng: np.random.Generator, usual_hour: NDArray[np.intp]) -> NDArray[np.intp]:
    """Four in ten deliveries at the campaign's usual local hour, the others anywhere in the waking hours."""
    count = len(usual_hour)
    anywhere = rng.integers(FIRST_WAKING_HOUR, LAST_WAKING_HOUR + 1, count)
    return np.where(rng.random(count) < USUAL_HOUR_SHARE, usual_hour, anywhere)


def _draw_offers(
    rng: np.random.Generator, offer: FloatArray, randomised: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:
    """The offers as sent and, for randomised campaigns, the probability with which each was sent."""
    arm = rng.choice(3, len(offer), p=PROPENSITIES)
    centre = np.clip(
        offer, response.MIN_OFFER + 2 * response.OFFER_STEP, response.MAX_OFFER - 2 * response.OFFER_STEP
    )
    drawn = centre + (arm - 1) * 2 * response.OFFER_STEP
    return np.where(randomised, drawn, offer), np.where(randomised, PROPENSITIES[arm], np.nan)


def _follow(rng: np.random.Generator, world: World, deliveries: _Deliveries) -> EventColumns:
    """Everything that comes of a day's deliveries, refunds apart."""
    sent = deliveries.events
    count = len(sent)
    profile = world.users.hour_profile[sent.user, deliveries.local_hour]
    views = rng.random(count) < response.view_probability(profile)
    converts = views & (
        rng.random(count) < conversion_probability(world, sent, profile, deliveries.day_noise)
    )
    clicks = converts | (views & (rng.random(count) < CLICK_WITHOUT_CONVERSION))
    leaves = views & ~converts & (rng.random(count) < UNSUBSCRIBE_SHARE)
    notified = (sent.channel == PUSH) | (sent.channel == EMAIL)
    machine = (sent.channel == EMAIL) & (rng.random(count) < MACHINE_OPEN_SHARE)
    viewed_at = sent.at + _delay(rng, count, median=180, longest=3_600)
    clicked_at = viewed_at + rng.integers(3, 90, count)
    converted_at = clicked_at + _delay(rng, count, median=240, longest=3_600)
    revenue = world.campaigns.mean_revenue[sent.campaign] * _basket_noise(rng, count)
    cents = np.rint(np.maximum(revenue, 1.0) * 100).astype(np.int64) * (MICROS // 100)
    return EventColumns.concatenate(
        [
            sent,
            _later(sent, notified, Kind.NOTIFICATION_DELIVERED, sent.at),
            _later(sent, notified & views, Kind.NOTIFICATION_OPENED, viewed_at - 1),
            _later(sent, machine, Kind.MACHINE_OPENED, sent.at + rng.integers(1, 40, count)),
            _later(sent, views, Kind.VIEWED, viewed_at),
            _later(sent, clicks, Kind.CLICKED, clicked_at),
            _later(sent, converts, Kind.CONVERTED, converted_at, revenue=cents, cost=sent.offer_micros),
            _later(sent, leaves, Kind.UNSUBSCRIBED, viewed_at + rng.integers(5, 600, count)),
        ]
    )


def conversion_probability(
    world: World, sent: EventColumns, profile: FloatArray, day_noise: FloatArray
) -> FloatArray:
    """Probability of a conversion given a view, per delivery (README.md, "Conversion")."""
    campaigns, users = world.campaigns, world.users
    offer = sent.offer_micros / MICROS
    return response.logistic(
        campaigns.intercept[sent.campaign]
        + response.offer_effect(offer, campaigns.campaign_type[sent.campaign])
        + response.WEEKDAY_EFFECT[world.weekdays[sent.day]]
        + response.season_effect(sent.day.astype(np.float64))
        + users.effect[sent.user]
        + response.preference_effect(users.preferences[sent.user, sent.merchant])
        + response.hour_effect(profile)
        + day_noise
    )


def _refund(rng: np.random.Generator, funnel: EventColumns) -> list[tuple[int, EventColumns]]:
    """Refunds of a day's conversions: (days later, refunds), two to nine days after."""
    bought = funnel.take(funnel.kind == Kind.CONVERTED)
    refunded = rng.random(len(bought)) < REFUND_SHARE
    due = rng.integers(2, 10, len(bought))
    return [
        (
            int(days),
            _later(
                bought,
                refunded & (due == days),
                Kind.REFUNDED,
                bought.at + days * 24 * HOUR_SECONDS,
                revenue=bought.revenue_micros,
            ),
        )
        for days in np.unique(due[refunded])
    ]


def _purchase(rng: np.random.Generator, world: World, day: int, scale: float) -> EventColumns:
    """A day's plain purchases: at the users' merchants, in the users' hours."""
    user = _draw_visitors(rng, world.users, day, world.users.purchases_per_day * scale)
    merchant = _draw_columns(rng, world.users.preferences[user])
    hour = _draw_columns(rng, world.users.hour_profile[user])
    count = len(user)
    basket = world.merchants.mean_basket[merchant] * _basket_noise(rng, count)
    return _outside_campaigns(
        rng,
        world,
        Kind.PURCHASED,
        day=day,
        user=user,
        merchant=merchant,
        hour=hour,
        revenue=np.rint(np.maximum(basket, 1.0) * 100).astype(np.int64) * (MICROS // 100),
    )


def _pass_by(rng: np.random.Generator, world: World, day: int, scale: float) -> EventColumns:
    """A day's geofence entries: half at the users' own merchants, half at whatever lies near."""
    users = world.users
    user = _draw_visitors(rng, users, day, np.full(USER_COUNT, GEOFENCE_PER_DAY * scale))
    liked = rng.random(len(user)) < LIKED_SHARE
    merchant = _draw_columns(
        rng, np.where(liked[:, np.newaxis], users.preferences[user], users.nearness[user])
    )
    hour = rng.integers(FIRST_WAKING_HOUR, LAST_WAKING_HOUR + 1, len(user))
    revenue = np.full(len(user), NONE)
    return _outside_campaigns(
        rng, world, Kind.GEOFENCE_ENTERED, day=day, user=user, merchant=merchant, hour=hour, revenue=revenue
    )


def _outside_campaigns(
    rng: np.random.Generator,
    world: World,
    kind: Kind,
    *,
    day: int,
    user: NDArray[np.intp],
    merchant: NDArray[np.intp],
    hour: NDArray[np.intp],
    revenue: IntColumn,
) -> EventColumns:
    count = len(user)
    nothing = np.full(count, NONE)
    return EventColumns(
        kind=np.full(count, kind),
        at=world.to_utc_seconds(user, day, hour * HOUR_SECONDS + rng.integers(0, HOUR_SECONDS, count)),
        day=np.full(count, day),
        row=np.arange(count),
        user=user,
        campaign=nothing,
        merchant=merchant,
        channel=nothing,
        offer_micros=nothing,
        revenue_micros=revenue,
        cost_micros=nothing,
        propensity=np.full(count, np.nan),
    )


def _later(
    source: EventColumns,
    where: NDArray[np.bool_],
    kind: Kind,
    at: IntColumn,
    *,
    revenue: IntColumn | None = None,
    cost: IntColumn | None = None,
) -> EventColumns:
    """The events of one kind that stem from the source rows where the mask holds."""
    nothing = np.full(len(source), NONE)
    return replace(
        source,
        kind=np.full(len(source), kind),
        at=at,
        revenue_micros=nothing if revenue is None else revenue,
        cost_micros=nothing if cost is None else cost,
    ).take(where)


def _draw_visitors(rng: np.random.Generator, users: Users, day: int, rate: FloatArray) -> NDArray[np.intp]:
    """Positions of users, each as often as it goes out that day."""
    times = rng.poisson(np.where(users.sign_up_day <= day, rate, 0.0))
    return np.repeat(np.arange(USER_COUNT), times)


def _draw_columns(rng: np.random.Generator, weights: FloatArray) -> NDArray[np.intp]:
    """One column per row, drawn by the row's weights."""
    cumulative = np.cumsum(weights, axis=1)
    drawn = rng.random(len(weights)) * cumulative[:, -1]
    return np.asarray((cumulative <= drawn[:, np.newaxis]).sum(axis=1), dtype=np.intp)


def _delay(rng: np.random.Generator, count: int, *, median: float, longest: int) -> IntColumn:
    """Log-normal delays in whole seconds, cut at the longest."""
    return np.minimum(median * np.exp(rng.normal(0, 0.9, count)), longest).astype(np.int64)


def _basket_noise(rng: np.random.Generator, count: int) -> FloatArray:
    """Log-normal factors with mean 1."""
    return np.exp(rng.normal(0, BASKET_SPREAD, count) - BASKET_SPREAD**2 / 2)
