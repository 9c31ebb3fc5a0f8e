"""A campaign by the channel through which its offers were delivered."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.analytics.domain.metrics import (
    CONFIDENCE_LEVEL,
    CampaignTotals,
    Estimate,
    RatioName,
    estimate_by_design_effect,
)


@dataclass(frozen=True, kw_only=True)
class ChannelTotals:
    """What was counted of one channel (0: none is known); its users are not added up."""

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
    life: CampaignTotals,
    confidence_level: float = CONFIDENCE_LEVEL,
) -> Sequence[ChannelPerformance]:
    """Return channels with intervals by the design effect of the whole campaign's life.

    A campaign whose only channel this is, over its whole life, has its exact intervals. A channel's users may
    repeat more or less than those of the whole campaign: its own sums over users would double the rows that
    ingestion writes.
    """

    def estimate(window: CampaignTotals, name: RatioName) -> Estimate:
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
