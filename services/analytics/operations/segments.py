"""Use cases of campaigns by the segments of their users."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.analytics.domain.segments import (
    RATE_NAMES,
    SEGMENTATIONS,
    WITHOUT_PURCHASE,
    Segmentation,
    SegmentMetric,
    SegmentPerformance,
    SegmentSums,
    count_events,
    find_segment_reversals,
    is_measured_now,
    rank_segments,
)
from services.analytics.domain.simpson import Reversal
from services.analytics.operations.ranges import unknown_campaign
from services.analytics.store import segments as store
from services.common.database import Connection, Database

GROWTH = 0.05
"""How much a campaign grows before its segments are measured again: so all measures of its life together read
no
more than 21 times its events, however long it is."""
MAXIMUM_EVENTS_AT_ONCE = 20_000
"""Up to so many events, users who were not measured yet are counted at the request."""
USER_DELTA_METHOD, DESIGN_EFFECT = "user_delta_method", "design_effect"


@dataclass(frozen=True, kw_only=True)
class RankedSegments:
    """A campaign's segments by a metric, in its currency (None before its first event)."""

    campaign_id: str
    currency_code: str | None
    segmentation: Segmentation
    segments: Sequence[SegmentPerformance]
    as_of: datetime | None
    reversals: Sequence[Reversal]
    interval_method: str


async def _keep_nothing() -> None:
    """Beside the job framework there is no lease to extend."""


class SegmentOperations:
    """Answers by segment, and measures segments.

    Args:
        database: where they are.
        clock: the present, aware.
    """

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def get_campaign_segments(
        self, campaign_id: str, segmentation: Segmentation, metric: SegmentMetric
    ) -> RankedSegments:
        """Return a campaign's segments by a metric.

        Raises:
            NotFoundError: CAMPAIGN_UNKNOWN.
        """
        async with self._database.acquire() as connection:
            found = await store.list_segments(connection, campaign_id, segmentation)
            if found is None:
                raise unknown_campaign(campaign_id)
            segments = await _measure_missing(connection, campaign_id, found.segments)
            reversals: Sequence[Reversal] = ()
            if metric in RATE_NAMES and len(segments) > 1:
                reversals = await store.list_reversals(connection, campaign_id, segmentation, metric)
        return RankedSegments(
            campaign_id=campaign_id,
            currency_code=found.currency_code,
            segmentation=segmentation,
            segments=rank_segments(segments, metric),
            as_of=found.as_of,
            reversals=reversals,
            interval_method=USER_DELTA_METHOD if is_measured_now(segments) else DESIGN_EFFECT,
        )

    async def refresh(self, save: Callable[[], Awaitable[None]] = _keep_nothing) -> int:
        """Measure the segments of campaigns that grew; return how many did. Each is a transaction of its own.

        Args:
            save: awaited after every campaign.
        """
        async with self._database.acquire() as connection:
            campaigns = await store.list_campaigns_to_measure(connection, GROWTH)
        for campaign in campaigns:
            async with self._database.transaction() as connection:
                await store.begin_measure(connection, campaign, self._clock())
                await _measure(connection, campaign.campaign_id)
            await save()
        return len(campaigns)


async def _measure_missing(
    connection: Connection, campaign_id: str, segments: Sequence[SegmentSums]
) -> Sequence[SegmentSums]:
    """Return the segments, measured from the events where the job has not come by and these are few."""
    missing = any(segment.moments is None for segment in segments)
    if not missing or count_events(segments) > MAXIMUM_EVENTS_AT_ONCE:
        return segments
    moments = await store.list_moments(connection, campaign_id)
    return [replace(segment, moments=moments.get(segment.segment_name)) for segment in segments]


async def _measure(connection: Connection, campaign_id: str) -> None:
    given = await store.list_moments(connection, campaign_id)
    await store.insert_moments(connection, campaign_id, given)
    strata = await store.list_strata(connection, campaign_id, WITHOUT_PURCHASE)
    moments = {"given": given, "rfm": await store.list_moments_by_rfm(connection, campaign_id)}
    for segmentation in SEGMENTATIONS:
        chosen = [row for row in strata if row.segmentation == segmentation]
        reversals = find_segment_reversals(moments[segmentation], chosen)
        await store.insert_reversals(connection, campaign_id, segmentation, reversals)
