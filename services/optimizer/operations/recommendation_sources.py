"""What each type of recommendation is made from: a draft, or why there is none."""

import asyncio
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from services.common.database import Database
from services.common.errors import DomainError, FailedPreconditionError
from services.common.threads import in_thread
from services.common.waiting_room import WaitingRoom
from services.optimizer.domain.campaigns import Campaign
from services.optimizer.domain.objectives import Objective
from services.optimizer.domain.recommendations.channels import choose_channel
from services.optimizer.domain.recommendations.drafts import (
    draft_channel,
    draft_segment,
    draft_timing,
)
from services.optimizer.domain.recommendations.offer_drafts import draft_offer
from services.optimizer.domain.recommendations.recommendations import (
    REVENUE_UNKNOWN,
    Draft,
    RecommendationType,
    Withheld,
    with_terms,
)
from services.optimizer.domain.recommendations.terms import terms_of_campaign, terms_of_offer
from services.optimizer.domain.recommendations.timing import REACHED_DAYS, choose_timing
from services.optimizer.domain.recommendations.withholding import withhold_timing, withhold_without_revenue
from services.optimizer.operations.days import Days
from services.optimizer.operations.offers import OfferOperations
from services.optimizer.operations.segments import SegmentOperations
from services.optimizer.store import campaign_context, send_times

LONGEST_SECONDS: Final = 10.0
"""What making one type may take, so that the others reach the caller before a gateway gives up on all."""
TOO_SLOW: Final = "TOO_SLOW"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The campaign that is asked about, and the reporting day and zone it is asked on."""

    campaign: Campaign
    today: date
    zone: ZoneInfo

    @property
    def campaign_type(self) -> int:
        """The campaign's type; raises FailedPreconditionError (CAMPAIGN_TYPE_UNKNOWN) without one."""
        if self.campaign.campaign_type is None:
            raise FailedPreconditionError(
                "the catalog does not say what type the campaign is of; upsert it with its campaign_type",
                reason="CAMPAIGN_TYPE_UNKNOWN",
            )
        return self.campaign.campaign_type


class RecommendationSources:
    """Makes drafts: of offers' answer, the users' hours, segments, and channels of like campaigns."""

    def __init__(
        self, database: Database, *, offers: OfferOperations, segments: SegmentOperations, room: WaitingRoom
    ) -> None:
        self._database = database
        self._room = room
        self._offers = offers
        self._segments = segments

    async def draft(self, kind: RecommendationType, asked: Asked) -> Draft | Withheld:
        """Return what to recommend of a type; what cannot be said now is withheld with its reason."""
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                return await self._draft(kind, asked)
        except TimeoutError:
            message = f"It was not made within {LONGEST_SECONDS:g} seconds; ask again later."
            return Withheld(type=kind, reason=TOO_SLOW, message=message)
        except DomainError as error:
            if error.reason == REVENUE_UNKNOWN:
                return withhold_without_revenue()
            return Withheld(type=kind, reason=error.reason, message=error.message)

    async def _draft(self, kind: RecommendationType, asked: Asked) -> Draft | Withheld:
        if kind is RecommendationType.OFFER_AMOUNT:
            answer = await self._offers.optimize_offer(asked.campaign.campaign_id, Objective.PROFIT)
            return with_terms(draft_offer(answer), terms_of_offer(answer))
        return with_terms(await self._draft_other(kind, asked), terms_of_campaign(asked.campaign))

    async def _draft_other(self, kind: RecommendationType, asked: Asked) -> Draft | Withheld:
        if kind is RecommendationType.TIMING:
            return await self._draft_timing(asked)
        if kind is RecommendationType.SEGMENT:
            return draft_segment(await self._segments.rank(asked.campaign.campaign_id))
        return await self._draft_channel(asked)

    async def _draft_timing(self, asked: Asked) -> Draft | Withheld:
        today = datetime.combine(asked.today, time(), tzinfo=asked.zone)
        async with self._room.turn(), self._database.transaction(readonly=True) as connection:
            sent_users, reached = await campaign_context.list_reached_users(
                connection,
                asked.campaign.campaign_id,
                asked.campaign_type,
                today - timedelta(days=REACHED_DAYS),
                today,
            )
            gain = await send_times.fetch_timing_gain(connection)
        if reached is None or gain is None:
            return withhold_timing(sent_users, reached)
        choice = await in_thread(choose_timing, reached, gain)
        return withhold_timing(sent_users, reached) if choice is None else draft_timing(choice)

    async def _draft_channel(self, asked: Asked) -> Draft | Withheld:
        async with self._database.transaction(readonly=True) as connection:
            channel = await campaign_context.fetch_campaign_channel(connection, asked.campaign.campaign_id)
            sums = await campaign_context.list_channel_sums(
                connection, asked.campaign_type, *Days(today=asked.today).window
            )
        return draft_channel(None if channel is None else await in_thread(choose_channel, sums, channel))
