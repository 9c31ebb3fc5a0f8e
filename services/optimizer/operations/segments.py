"""Which segments to send a campaign to."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.common.database import Connection, Database
from services.common.errors import FailedPreconditionError
from services.common.waiting_room import WaitingRoom
from services.optimizer.domain.campaigns import Campaign
from services.optimizer.domain.decision_table import NO_SEGMENTS, DecisionTable
from services.optimizer.domain.offer_policy import OUTCOME_HOURS
from services.optimizer.domain.segment_ranking import SegmentRanking, rank_segments
from services.optimizer.domain.segment_uplift import Uplift, uplift_by_offers, uplift_by_test
from services.optimizer.domain.segments import SegmentRate, rate_segments
from services.optimizer.domain.training_window import WINDOW_DAYS
from services.optimizer.operations.days import fetch_reporting_zone
from services.optimizer.operations.lookup import require_campaign
from services.optimizer.store import decisions, segments


class SegmentOperations:
    """Ranks segments by what campaigns of a type did, and by tests and drawn offers where there are any."""

    def __init__(self, database: Database, *, room: WaitingRoom, now: Callable[[], datetime]) -> None:
        self._database = database
        self._room = room
        self._now = now

    async def rank(self, campaign_id: str) -> SegmentRanking:
        """Return the segments of a campaign, the best first.

        Raises:
            NotFoundError: CAMPAIGN_UNKNOWN.
            FailedPreconditionError: SEGMENTS_UNKNOWN.
            ResourceExhaustedError: TOO_MANY_WAITING.
        """
        async with self._room.turn(), self._database.transaction(readonly=True) as connection:
            campaign = await require_campaign(connection, campaign_id)
            rates = await rate_type_segments(connection, campaign)
            # Uplifts of one kind, so that they can be ranked: tests' where there are any.
            uplifts = await _by_tests(connection, campaign)
            if not uplifts:
                zone = await fetch_reporting_zone(connection)
                uplifts = await _by_drawn_offers(connection, campaign_id, self._now(), zone)
        return rank_segments(campaign_id, rates, uplifts)


async def _by_tests(connection: Connection, campaign: Campaign) -> Mapping[str, Uplift]:
    cells = await segments.list_test_cells(connection, campaign.campaign_id, campaign.campaign_type or 0)
    numbers = {cell.segment_set for cell in cells if cell.segment_set is not None}
    return uplift_by_test(cells, await decisions.list_segment_sets(connection, sorted(numbers)))


async def _by_drawn_offers(
    connection: Connection, campaign_id: str, now: datetime, zone: ZoneInfo
) -> Mapping[str, Uplift]:
    table = await _load_drawn(connection, campaign_id, now, zone)
    if table is None:
        return {}
    numbers = set(table.segment_set.tolist()) - {NO_SEGMENTS}
    names = await decisions.list_segment_sets(connection, sorted(numbers))
    return await asyncio.to_thread(uplift_by_offers, table, names)


async def rate_type_segments(connection: Connection, campaign: Campaign) -> Sequence[SegmentRate]:
    """Return the segments of a campaign's type; raise FailedPreconditionError (SEGMENTS_UNKNOWN) for none."""
    if campaign.campaign_type is None:
        raise FailedPreconditionError(
            "the catalog does not say what type the campaign is of; upsert it with its campaign_type",
            reason="SEGMENTS_UNKNOWN",
        )
    rates = rate_segments(await segments.list_segment_sums(connection, campaign.campaign_type))
    if not rates:
        raise FailedPreconditionError(
            "no campaign of this type was measured by segment yet: a job of analytics does it now and then,"
            " where users have segments in the catalog",
            reason="SEGMENTS_UNKNOWN",
        )
    return rates


async def _load_drawn(
    connection: Connection, campaign_id: str, now: datetime, zone: ZoneInfo
) -> DecisionTable | None:
    """Return the campaign's deliveries with a propensity whose outcomes are complete."""
    today = datetime.combine(now.astimezone(zone).date(), time(), tzinfo=zone)
    return await decisions.list_logged_decisions(
        connection,
        [campaign_id],
        today - timedelta(days=WINDOW_DAYS),
        now - timedelta(hours=OUTCOME_HOURS),
        timedelta(hours=OUTCOME_HOURS),
        zone.key,
    )
