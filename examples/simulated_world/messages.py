"""The simulated world in the words of the public contract: catalog entries and events."""

import math
from collections.abc import Iterator
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from examples.simulated_world.campaigns import CAMPAIGN_COUNT
from examples.simulated_world.columns import MICROS, NONE, EventColumns, Kind
from examples.simulated_world.population import CATEGORIES, CITIES, LIFECYCLES, MERCHANT_COUNT, USER_COUNT
from examples.simulated_world.world import World
from gen.campaigns.analytics.v1.catalog_service_pb2 import Campaign, Merchant, User
from gen.campaigns.analytics.v1.events_pb2 import Event, EventType
from gen.campaigns.type.v1.campaign_pb2 import CampaignType, Channel

CURRENCY: Final = "USD"
RANDOMISED_POLICY: Final = "three-arms-v1"

_EVENT_TYPES: Final = {
    Kind.DELIVERED: EventType.EVENT_TYPE_DELIVERED,
    Kind.VIEWED: EventType.EVENT_TYPE_VIEWED,
    Kind.CLICKED: EventType.EVENT_TYPE_CLICKED,
    Kind.CONVERTED: EventType.EVENT_TYPE_CONVERTED,
    Kind.REFUNDED: EventType.EVENT_TYPE_REFUNDED,
    Kind.UNSUBSCRIBED: EventType.EVENT_TYPE_UNSUBSCRIBED,
    Kind.GEOFENCE_ENTERED: EventType.EVENT_TYPE_GEOFENCE_ENTERED,
    Kind.NOTIFICATION_DELIVERED: EventType.EVENT_TYPE_NOTIFICATION_DELIVERED,
    Kind.NOTIFICATION_OPENED: EventType.EVENT_TYPE_NOTIFICATION_OPENED,
    Kind.PURCHASED: EventType.EVENT_TYPE_CONVERTED,
    Kind.MACHINE_OPENED: EventType.EVENT_TYPE_NOTIFICATION_OPENED,
}
_CAMPAIGN_TYPES: Final = (
    CampaignType.CAMPAIGN_TYPE_LOCATION_DEAL,
    CampaignType.CAMPAIGN_TYPE_FLASH_SALE,
    CampaignType.CAMPAIGN_TYPE_LOYALTY_REWARD,
    CampaignType.CAMPAIGN_TYPE_WIN_BACK,
    CampaignType.CAMPAIGN_TYPE_NEW_MERCHANT,
    CampaignType.CAMPAIGN_TYPE_BIRTHDAY,
    CampaignType.CAMPAIGN_TYPE_CROSS_SELL,
)
_CHANNELS: Final = (
    Channel.CHANNEL_PUSH,
    Channel.CHANNEL_EMAIL,
    Channel.CHANNEL_SMS,
    Channel.CHANNEL_IN_APP,
)


def campaign_id(campaign: int) -> str:
    """Name of the campaign at a position."""
    return f"c{campaign + 1:03d}"


def user_id(user: int) -> str:
    """Name of the user at a position."""
    return f"u{user + 1:05d}"


def merchant_messages(world: World) -> list[Merchant]:
    """The merchants for the catalog; the id is the position plus one."""
    merchants = world.merchants
    return [
        Merchant(
            merchant_id=index + 1,
            merchant_name=merchants.names[index],
            category=CATEGORIES[merchants.category[index]].name,
            latitude=round(float(merchants.latitude[index]), 6),
            longitude=round(float(merchants.longitude[index]), 6),
            currency_code=CURRENCY,
        )
        for index in range(MERCHANT_COUNT)
    ]


def user_messages(world: World) -> list[User]:
    """The users for the catalog."""
    users = world.users
    return [
        User(
            user_id=user_id(index),
            sign_up_time=_timestamp(int(world.signed_up_at(index).timestamp())),
            time_zone=CITIES[users.city[index]].time_zone,
            segments=[
                LIFECYCLES[users.lifecycle[index]],
                *(["high_value"] if users.high_value[index] else []),
            ],
        )
        for index in range(USER_COUNT)
    ]


def campaign_messages(world: World) -> list[Campaign]:
    """The campaigns for the catalog, with the offer of their last day."""
    campaigns = world.campaigns
    return [
        Campaign(
            campaign_id=campaign_id(index),
            campaign_name=campaigns.names[index],
            campaign_type=_CAMPAIGN_TYPES[campaigns.campaign_type[index]],
            merchant_id=int(campaigns.merchant[index]) + 1,
            channel=_CHANNELS[campaigns.channel[index]],
            offer_amount=campaigns.current_offer(index),
            gross_margin_rate=float(campaigns.gross_margin_rate[index]),
            currency_code=CURRENCY,
            start_time=_timestamp(int(world.starts_at(index).timestamp())),
            end_time=_timestamp(int(world.ends_at(index).timestamp())),
        )
        for index in range(CAMPAIGN_COUNT)
    ]


def event_messages(columns: EventColumns, *, prefix: str) -> Iterator[Event]:
    """The events, in the order of the columns; every event_id begins with the prefix."""
    rows = zip(
        columns.kind.tolist(),
        columns.at.tolist(),
        columns.day.tolist(),
        columns.row.tolist(),
        columns.user.tolist(),
        columns.campaign.tolist(),
        columns.merchant.tolist(),
        columns.channel.tolist(),
        columns.offer_micros.tolist(),
        columns.revenue_micros.tolist(),
        columns.cost_micros.tolist(),
        columns.propensity.tolist(),
        strict=True,
    )
    for kind, at, day, row, user, campaign, merchant, channel, offer, revenue, cost, propensity in rows:
        drawn = not math.isnan(propensity)
        yield Event(
            event_id=f"{prefix}.{day}.{row}.{kind}",
            event_type=_EVENT_TYPES[kind],
            campaign_id=None if campaign == NONE else _CAMPAIGN_IDS[campaign],
            user_id=_USER_IDS[user],
            merchant_id=merchant + 1,
            event_time=Timestamp(seconds=at),
            revenue=None if revenue == NONE else revenue / MICROS,
            cost=None if cost == NONE else cost / MICROS,
            offer_amount=None if offer == NONE else offer / MICROS,
            channel=Channel.CHANNEL_UNSPECIFIED if channel == NONE else _CHANNELS[channel],
            original_event_id=f"{prefix}.{day}.{row}.{Kind.CONVERTED:d}" if kind == Kind.REFUNDED else "",
            is_machine_open=kind == Kind.MACHINE_OPENED,
            propensity=propensity if drawn else None,
            policy_version=RANDOMISED_POLICY if drawn else "",
        )


_CAMPAIGN_IDS: Final = [campaign_id(index) for index in range(CAMPAIGN_COUNT)]
_USER_IDS: Final = [user_id(index) for index in range(USER_COUNT)]


def _timestamp(seconds: int) -> Timestamp:
    return Timestamp(seconds=seconds)
