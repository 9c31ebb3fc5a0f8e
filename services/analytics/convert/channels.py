"""A campaign's channels on their way to the wire."""

from gen.campaigns.analytics.v1 import analytics_service_pb2, metrics_pb2
from gen.campaigns.type.v1.campaign_pb2 import Channel
from services.analytics.convert.ranges import interval_to_proto, range_to_proto
from services.analytics.domain.channels import ChannelPerformance
from services.analytics.operations.channels import CampaignChannels
from services.common.wire import micros_to_money


def channels_to_proto(answer: CampaignChannels) -> analytics_service_pb2.GetCampaignChannelsResponse:
    """Return the answer of GetCampaignChannels; what is undefined stays unset."""
    return analytics_service_pb2.GetCampaignChannelsResponse(
        campaign_id=answer.campaign_id,
        currency_code=answer.currency_code or "",
        date_range=range_to_proto(answer.date_range),
        channels=[_channel_to_proto(channel) for channel in answer.channels],
        interval_method=answer.interval_method,
    )


def _channel_to_proto(channel: ChannelPerformance) -> metrics_pb2.ChannelPerformance:
    counts, signals = channel.totals.counts, channel.totals.signals
    return metrics_pb2.ChannelPerformance(
        channel=Channel.ValueType(channel.channel),
        impressions=counts.impressions,
        views=counts.views,
        clicks=counts.clicks,
        conversions=counts.conversions,
        revenue=micros_to_money(counts.revenue_micros),
        cost=micros_to_money(counts.cost_micros),
        notification_deliveries=signals.notification_deliveries,
        notification_opens=signals.notification_opens,
        view_rate=channel.view_rate.value,
        view_rate_interval=interval_to_proto(channel.view_rate.interval),
        ctr=channel.ctr.value,
        ctr_interval=interval_to_proto(channel.ctr.interval),
        conversion_rate=channel.conversion_rate.value,
        conversion_rate_interval=interval_to_proto(channel.conversion_rate.interval),
        notification_open_rate=channel.notification_open_rate.value,
        notification_open_rate_interval=interval_to_proto(channel.notification_open_rate.interval),
        roas=channel.roas.value,
        roas_interval=interval_to_proto(channel.roas.interval),
    )
