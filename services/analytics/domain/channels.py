"""A campaign by the channel through which its offers were delivered."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.analytics.domain.metrics import (
    CONFIDENCE_LEVEL,
    CampaignTotals,
    Estimate,
    RatioName,
    estimate_by_design_effect,
    estimate_by_users,
)


@dataclass(frozen=True, kw_only=True)
class ChannelTotals:
    """What was counted of one channel (0: none is known), with or without the sums over its users."""

    channel: int
    totals: CampaignTotals


@dataclass(frozen=True, kw_only=True)
class ChannelPerformance:
    """One channel with its rates, which are None where undefined."""

    channel: int
    totals: CampaignTotals
    view_rate: Estimate
    ctr: Estimate
    conversion_rate: Estimate
    notification_open_rate: Estimate
    roas: Estimate


def measure_channels(
    channels: Sequence[ChannelTotals],
    life: CampaignTotals | None = None,
    confidence_level: float = CONFIDENCE_LEVEL,
) -> Sequence[ChannelPerformance]:
    """Return channels with their rates, which take the user as the unit.

    With `life`, the sums over users of the channels are unknown, and the design effect of the whole
    campaign's life stands in. Where a channel's users repeat more than those of the whole campaign, that is
    too narrow (`design_effect.py` has figures); keeping its own sums would double the rows that are written.
    """

    def estimate(window: CampaignTotals, name: RatioName) -> Estimate:
        if life is None:
            return estimate_by_users(window, name, confidence_level)
        return estimate_by_design_effect(window, life, name, confidence_level)

    return [
        ChannelPerformance(
            channel=channel.channel,
            totals=channel.totals,
            view_rate=estimate(channel.totals, "view_rate"),
            ctr=estimate(channel.totals, "ctr"),
            conversion_rate=estimate(channel.totals, "conversion_rate"),
            notification_open_rate=estimate(channel.totals, "notification_open_rate"),
            roas=estimate(channel.totals, "roas"),
        )
        for channel in channels
    ]


def count_channel_events(channels: Sequence[ChannelTotals]) -> int:
    """Return the events of all channels together, but for refunds."""
    return sum(
        counts.impressions
        + counts.views
        + counts.clicks
        + counts.conversions
        + signals.notification_deliveries
        + signals.notification_opens
        + signals.geofence_entries
        + signals.unsubscribes
        for counts, signals in ((channel.totals.counts, channel.totals.signals) for channel in channels)
    )
