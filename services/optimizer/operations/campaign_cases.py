"""Loads what is known of campaigns of the catalog: the same of one alone as of one among many."""

from collections.abc import Sequence
from datetime import date

from services.common.database import Connection
from services.optimizer.domain.campaigns import (
    Campaign,
    SentLately,
    TypicalHistory,
    latest_offer,
    mean_daily_views,
)
from services.optimizer.domain.features import HISTORY_DAYS, Situation
from services.optimizer.domain.models.version import ModelVersion
from services.optimizer.domain.objectives import Economics, Objective
from services.optimizer.domain.offers.case import OfferCase, days_to_come, sent_anchor
from services.optimizer.domain.offers.recommendation import Question
from services.optimizer.domain.offers.unseen_campaigns import like_others
from services.optimizer.domain.response.offer_cells import CampaignAudience
from services.optimizer.domain.response.support import Support
from services.optimizer.operations.days import Days
from services.optimizer.store import audiences, outcomes


async def load_cases(
    connection: Connection, campaigns: Sequence[Campaign], model: ModelVersion, today: date
) -> list[OfferCase]:
    """Return what is known of campaigns whose type is, in their order, for an answer by `model`.

    Each asks for the conversion rate; what conversions bring is not loaded. Audiences are those counted for
    the same version, whichever is live by now.
    """
    parameters = model.parameters
    days, names = Days(today=today), [campaign.campaign_id for campaign in campaigns]
    sent = await outcomes.list_campaign_offers(connection, names, history=days.history, window=days.window)
    viewers = await audiences.list_campaign_audiences(connection, model.version, names)
    typical: dict[int, TypicalHistory] = {}
    cases = []
    for campaign in campaigns:
        name, campaign_type = campaign.campaign_id, campaign.campaign_type or 0
        case = _case(campaign, sent.get(name, SentLately()), viewers.get(name), parameters.support, today)
        if case.daily_views is None:
            if campaign_type not in typical:
                typical[campaign_type] = await outcomes.fetch_typical_history(
                    connection, campaign_type, *days.history
                )
            case = like_others(case, typical[campaign_type], parameters)
        cases.append(case)
    return cases


def _case(
    campaign: Campaign, lately: SentLately, audience: CampaignAudience | None, support: Support, today: date
) -> OfferCase:
    """Return the case of a campaign of which this much is known."""
    sent, campaign_type = lately.offers, campaign.campaign_type or 0
    current = campaign.offer_micros if campaign.offer_micros is not None else latest_offer(sent)
    anchor_offers, anchor_weights = sent_anchor(
        sent, fallback_micros=current, campaign_type=campaign_type, support=support
    )
    return OfferCase(
        question=Question(
            campaign_type=campaign_type,
            current_offer_micros=current,
            objective=Objective.CONVERSION_RATE,
            economics=Economics(mean_revenue=None, gross_margin_rate=None),
        ),
        situation=Situation(
            day=today,
            campaign_type=campaign_type,
            merchant_id=campaign.merchant_id or 0,
            historical_impressions=sum(offer.impressions for offer in sent),
            historical_conversions=sum(offer.conversions for offer in sent),
        ),
        anchor_offers_micros=anchor_offers,
        anchor_weights=anchor_weights,
        known_rate=None,
        daily_views=mean_daily_views(sent),
        seen_until=lately.seen_until,
        audience=audience,
        views_a_day=sum(offer.views for offer in sent) / HISTORY_DAYS if sent else None,
        days=days_to_come(today, {weekday for offer in sent for weekday in offer.weekdays}),
    )
