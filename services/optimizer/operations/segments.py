"""Which segments to send a campaign to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from services.common.database import Connection, Database
from services.common.errors import FailedPreconditionError
from services.common.threads import in_thread
from services.common.waiting_room import WaitingRoom
from services.optimizer.domain.campaigns import Campaign
from services.optimizer.domain.policies.offer_policy import OUTCOME_HOURS
from services.optimizer.domain.response.drawn_offers import find_sides, latest_days
from services.optimizer.domain.segments.offer_mix import compare_at_offers
from services.optimizer.domain.segments.ranking import SegmentRanking, rank_segments
from services.optimizer.domain.segments.segments import SegmentRate, rate_segments
from services.optimizer.domain.segments.uplift import Uplift, uplift_by_offers, uplift_by_test
from services.optimizer.domain.training_window import WINDOW_DAYS
from services.optimizer.operations.days import fetch_reporting_zone
from services.optimizer.operations.lookup import require_campaign
from services.optimizer.store import decisions, segments
from services.optimizer.store.segments import DrawnWindow

OUTCOME: Final = timedelta(hours=OUTCOME_HOURS)
"""What a user does in the campaign for so long after a delivery, until the next one, is its outcome."""


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
        async with (
            self._room.turn(),
            self._database.transaction(isolation="repeatable_read", readonly=True) as connection,
        ):
            campaign = await require_campaign(connection, campaign_id)
            rates = await rate_type_segments(connection, campaign)
            # Uplifts of one kind, so that they can be ranked: tests' where there are any.
            uplifts = await _by_tests(connection, campaign_id)
            if not uplifts:
                zone = await fetch_reporting_zone(connection)
                uplifts = await _by_drawn_offers(connection, campaign_id, self._now(), zone)
        return rank_segments(campaign_id, rates, uplifts)


async def _by_tests(connection: Connection, campaign_id: str) -> Mapping[str, Uplift]:
    """Return what the campaign's own tests tell; those of others of its type say too little of it."""
    cells = await segments.list_test_cells(connection, campaign_id)
    numbers = {cell.segment_set for cell in cells if cell.segment_set is not None}
    return uplift_by_test(cells, await decisions.list_segment_sets(connection, sorted(numbers)))


async def _by_drawn_offers(
    connection: Connection, campaign_id: str, now: datetime, zone: ZoneInfo
) -> Mapping[str, Uplift]:
    """Return what drawn offers tell, of the latest deliveries whose outcomes are complete."""
    today = datetime.combine(now.astimezone(zone).date(), time(), tzinfo=zone)
    window = DrawnWindow(
        campaign_id=campaign_id,
        start=today - timedelta(days=WINDOW_DAYS),
        end=now - OUTCOME,
        time_zone=zone.key,
    )
    cells = latest_days(await segments.list_drawn_cells(connection, window))
    sides = find_sides(cells)
    if not sides:
        return {}
    first = datetime.combine(min(cell.day for cell in cells), time(), tzinfo=zone)
    window = replace(window, start=max(window.start, first))
    return uplift_by_offers(await segments.list_offer_moments(connection, window, OUTCOME, sides))


async def rate_type_segments(connection: Connection, campaign: Campaign) -> Sequence[SegmentRate]:
    """Return the segments of a campaign's type; raise FailedPreconditionError (SEGMENTS_UNKNOWN) for none."""
    if campaign.campaign_type is None:
        raise FailedPreconditionError(
            "the catalog does not say what type the campaign is of; upsert it with its campaign_type",
            reason="SEGMENTS_UNKNOWN",
        )
    sums = await segments.list_segment_sums(connection, campaign.campaign_type)
    viewers = await segments.list_offer_viewers(connection, campaign.campaign_type)
    sets = await decisions.list_segment_sets(connection, sorted({each.segment_set_id for each in viewers}))
    recurrence = await segments.fetch_user_recurrence(connection, campaign.campaign_type)
    compared = await in_thread(compare_at_offers, sums, viewers, sets)
    rates = rate_segments(compared, recurrence)
    if not rates:
        raise FailedPreconditionError(
            "no campaign of this type was measured by segment yet: a job of analytics does it now and then,"
            " where users have segments in the catalog",
            reason="SEGMENTS_UNKNOWN",
        )
    return rates
