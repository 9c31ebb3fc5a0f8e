"""Statements of campaigns by the segments of their users."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.analytics.domain.intervals import ConfidenceInterval
from services.analytics.domain.metrics import Counts
from services.analytics.domain.segments import (
    Segmentation,
    SegmentMetric,
    SegmentMoments,
    SegmentSums,
    StratumCounts,
)
from services.analytics.domain.simpson import Reversal
from services.analytics.store.statements import STATEMENTS, Connection, Record

_PRODUCTS = (
    "impressions_impressions",
    "impressions_views",
    "impressions_clicks",
    "views_views",
    "views_conversions",
    "clicks_clicks",
    "conversions_conversions",
    "conversions_revenue",
    "revenue_revenue",
    "revenue_revenue_revenue",
)
_LIST_SEGMENTS: Mapping[Segmentation, str] = {
    "given": "list_given_segments",
    "rfm": "list_rfm_segments_of_campaign",
}


@dataclass(frozen=True, kw_only=True)
class CampaignSegments:
    """A campaign's segments; no currency before its first event, `as_of` for `rfm` alone."""

    currency_code: str | None
    segments: Sequence[SegmentSums]
    as_of: datetime | None


@dataclass(frozen=True, kw_only=True)
class CampaignToMeasure:
    """A campaign whose segments are to be measured, and how many events it has."""

    campaign_id: str
    counted_events: int


async def list_segments(
    connection: Connection, campaign_id: str, segmentation: Segmentation
) -> CampaignSegments | None:
    """Return a campaign's segments; None for an unknown campaign."""
    rows = await connection.fetch(STATEMENTS[_LIST_SEGMENTS[segmentation]].sql, campaign_id)
    if not rows:
        return None
    return CampaignSegments(
        currency_code=rows[0]["counted_currency_code"],
        segments=[
            SegmentSums(segment_name=row["segment_name"], counts=_counts(row), moments=_moments(row))
            for row in rows
            if row["segment_name"] is not None
        ],
        as_of=rows[0]["as_of"],
    )


async def list_reversals(
    connection: Connection, campaign_id: str, segmentation: Segmentation, metric: SegmentMetric
) -> Sequence[Reversal]:
    """Return the pairs whose order by a metric turns around within strata, as of the last measure."""
    rows = await connection.fetch(STATEMENTS["list_segment_reversals"].sql, campaign_id, segmentation, metric)
    return [
        Reversal(
            first=row["first_name"],
            second=row["second_name"],
            stratified_by=row["stratified_by"],
            metric=row["metric"],
            pooled_difference=row["pooled_difference"],
            stratified_difference=row["stratified_difference"],
            stratified_difference_interval=ConfidenceInterval(
                lower=row["stratified_lower"], upper=row["stratified_upper"]
            ),
            agreeing_weight=row["agreeing_weight"],
            adjusted_p_value=row["adjusted_p_value"],
        )
        for row in rows
    ]


async def list_campaigns_to_measure(connection: Connection, growth: float) -> Sequence[CampaignToMeasure]:
    """Return campaigns that were never measured, or grew by more than the fraction `growth` since."""
    rows = await connection.fetch(STATEMENTS["list_campaigns_to_measure"].sql, growth)
    return [
        CampaignToMeasure(campaign_id=row["campaign_id"], counted_events=row["counted_events"])
        for row in rows
    ]


async def begin_measure(connection: Connection, campaign: CampaignToMeasure, measured_at: datetime) -> None:
    """Keep that a campaign is measured, and forget what was measured before."""
    await connection.execute(
        STATEMENTS["upsert_segment_measure"].sql, campaign.campaign_id, campaign.counted_events, measured_at
    )
    await connection.execute(STATEMENTS["clear_segment_measures"].sql, campaign.campaign_id)


async def list_moments(connection: Connection, campaign_id: str) -> Mapping[str, SegmentMoments]:
    """Return the sums over the users of a campaign's segments as stamped, counted from its events."""
    return _moments_by_name(await connection.fetch(STATEMENTS["list_segment_moments"].sql, campaign_id))


async def list_moments_by_rfm(connection: Connection, campaign_id: str) -> Mapping[str, SegmentMoments]:
    """Return the sums over a campaign's users by recency, frequency and money, as kept."""
    return _moments_by_name(await connection.fetch(STATEMENTS["list_moments_by_rfm"].sql, campaign_id))


async def insert_moments(
    connection: Connection, campaign_id: str, moments: Mapping[str, SegmentMoments]
) -> None:
    """Keep what was measured of the segments as stamped."""
    await connection.executemany(
        STATEMENTS["insert_segment_moments"].sql,
        [
            (
                campaign_id,
                name,
                m.users,
                m.paying_users,
                m.counts.impressions,
                m.counts.views,
                m.counts.clicks,
                m.counts.conversions,
                m.counts.revenue_micros,
                m.counts.cost_micros,
                *(getattr(m, product) for product in _PRODUCTS),
            )
            for name, m in moments.items()
        ],
    )


async def list_strata(
    connection: Connection, campaign_id: str, without_purchase: str
) -> Sequence[StratumCounts]:
    """Return a campaign's counts by segment, of both segmentations, within every stratification."""
    rows = await connection.fetch(STATEMENTS["list_segment_strata"].sql, campaign_id, without_purchase)
    return [
        StratumCounts(
            segmentation=row["segmentation"],
            segment_name=row["segment_name"],
            stratified_by=row["stratified_by"],
            stratum=row["stratum"],
            counts=Counts(
                impressions=row["impressions"],
                views=row["views"],
                clicks=row["clicks"],
                conversions=row["conversions"],
            ),
        )
        for row in rows
    ]


async def insert_reversals(
    connection: Connection, campaign_id: str, segmentation: Segmentation, reversals: Sequence[Reversal]
) -> None:
    """Keep the pairs whose order turns around."""
    await connection.executemany(
        STATEMENTS["insert_segment_reversal"].sql,
        [
            (
                campaign_id,
                segmentation,
                r.first,
                r.second,
                r.stratified_by,
                r.metric,
                r.pooled_difference,
                r.stratified_difference,
                r.stratified_difference_interval.lower,
                r.stratified_difference_interval.upper,
                r.agreeing_weight,
                r.adjusted_p_value,
            )
            for r in reversals
        ],
    )


def _counts(row: Record, prefix: str = "") -> Counts:
    return Counts(
        impressions=row[f"{prefix}impressions"],
        views=row[f"{prefix}views"],
        clicks=row[f"{prefix}clicks"],
        conversions=row[f"{prefix}conversions"],
        revenue_micros=row[f"{prefix}revenue_micros"],
        cost_micros=row[f"{prefix}cost_micros"],
    )


def _moments(row: Record) -> SegmentMoments | None:
    if row["users"] is None:
        return None
    return SegmentMoments(
        users=row["users"],
        paying_users=row["paying_users"],
        counts=_counts(row, "measured_"),
        **{product: int(row[product]) for product in _PRODUCTS},
    )


def _moments_by_name(rows: Sequence[Record]) -> Mapping[str, SegmentMoments]:
    return {row["segment_name"]: moments for row in rows if (moments := _moments(row)) is not None}
