"""Use case that puts campaigns side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.analytics.domain.comparison import (
    ComparedCampaign,
    ComparedMetric,
    Difference,
    compare_campaigns,
)
from services.analytics.domain.intervals import estimate_effective_trials
from services.analytics.domain.metrics import CampaignMetrics, CampaignTotals, measure_campaign, moments_of
from services.analytics.domain.simpson import Reversal, StratifiedGroup, find_reversals
from services.analytics.operations.ranges import unknown_campaign
from services.analytics.store import comparison as store
from services.analytics.store import metrics as metrics_store
from services.common.database import Database


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Campaigns in the order asked for, differences from the first, and what turns around in segments."""

    campaigns: Sequence[CampaignMetrics]
    differences: Sequence[Difference]
    reversals: Sequence[Reversal]


class ComparisonOperations:
    """Answers from the lives of campaigns and their users; every answer comes from one snapshot.

    Args:
        database: where the rollups live.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def compare_campaigns(
        self, campaign_ids: Sequence[str], metrics: Sequence[ComparedMetric]
    ) -> Comparison:
        """Return campaigns side by side, the first as the baseline; NotFoundError (CAMPAIGN_UNKNOWN)."""
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            lives = await metrics_store.list_campaign_lives(connection, campaign_ids)
            for campaign_id in campaign_ids:
                if campaign_id not in lives:
                    raise unknown_campaign(campaign_id)
            shared = await store.list_shared_sums(connection, campaign_ids[0], campaign_ids[1:])
            cells = await store.list_segment_cells(connection, campaign_ids)
        campaigns = [
            ComparedCampaign(
                campaign_id=campaign_id,
                currency_code=life.currency_code,
                totals=life.totals,
                metrics=measure_campaign(
                    campaign_id=campaign_id,
                    currency_code=life.currency_code,
                    date_range=None,
                    totals=life.totals,
                ),
                shared=shared.get(campaign_id, {}),
            )
            for campaign_id, life in ((name, lives[name]) for name in campaign_ids)
        ]
        return Comparison(
            campaigns=[campaign.metrics for campaign in campaigns],
            differences=compare_campaigns(campaigns, metrics),
            reversals=find_reversals(
                [_stratify(campaign, cells) for campaign in campaigns],
                stratified_by="segment",
                metric="conversion_rate",
            ),
        )


def _stratify(
    campaign: ComparedCampaign, cells: Mapping[str, Mapping[str, tuple[int, int]]]
) -> StratifiedGroup:
    own = cells.get(campaign.campaign_id, {})
    return StratifiedGroup(
        name=campaign.campaign_id,
        cells=own,
        design_effect=_design_effect(campaign.totals),
        mix_design_effect=_repeats(campaign.totals),
    )


def _design_effect(totals: CampaignTotals) -> float:
    moments = moments_of(totals, "conversion_rate")
    return moments.x / estimate_effective_trials(moments) if 0 <= moments.y <= moments.x > 0 else 1.0


def _repeats(totals: CampaignTotals) -> float:
    """Views of a user as a view meets them: an upper bound where users keep to one segment."""
    return totals.moments.views_views / totals.counts.views if totals.counts.views else 1.0
