"""Which offer to make: loads what is known of a campaign, asks the model server once, and decides."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta

from services.common.database import Connection, Database
from services.common.errors import FailedPreconditionError
from services.optimizer.domain.campaigns import (
    Campaign,
    PlannedCampaign,
    RevenueTotals,
    latest_offer,
    mean_daily_views,
)
from services.optimizer.domain.constraints import (
    NO_LIMITS,
    Constraint,
    ConstraintSource,
    OfferLimits,
    Scope,
    gather,
)
from services.optimizer.domain.features import HISTORY_DAYS, Situation
from services.optimizer.domain.model_version import CONVERSION_MODEL, ModelVersion
from services.optimizer.domain.objectives import Objective
from services.optimizer.domain.offer_answer import (
    OfferAnswer,
    OfferCase,
    answer_offer,
    planned_situation,
    sent_anchor,
)
from services.optimizer.domain.recommendation import Question
from services.optimizer.domain.unseen_campaigns import like_others
from services.optimizer.model_client import ModelClient
from services.optimizer.operations.days import Days, fetch_reporting_day
from services.optimizer.operations.lookup import LiveModel, require_campaign, require_merchant
from services.optimizer.store import audiences, outcomes
from services.optimizer.store.offer_constraints import fetch_offer_constraints


class OfferOperations:
    """The use cases of offers over one database and one model server."""

    def __init__(
        self, database: Database, *, models: ModelClient, live: LiveModel, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._models = models
        self._live = live
        self._now = now

    async def optimize_offer(
        self, campaign_id: str, objective: Objective, limits: OfferLimits = NO_LIMITS
    ) -> OfferAnswer:
        """Return the offer to make in a campaign of the catalog, within `limits` and those kept for it.

        Raises:
            NotFoundError: CAMPAIGN_UNKNOWN.
            FailedPreconditionError: MODEL_NOT_TRAINED, OFFER_UNSUPPORTED, REVENUE_UNKNOWN,
                OFFER_UNPROFITABLE, OFFER_CONSTRAINED.
            UnavailableError: the database or the model server does not answer.
        """
        async with self._database.transaction(readonly=True) as connection:
            model = await self._live.require(connection)
            campaign = await require_campaign(connection, campaign_id)
            today = await fetch_reporting_day(connection, self._now())
            case = await _campaign_case(connection, campaign, objective, model, today)
            constraints = await _gather_constraints(
                connection, limits, campaign_id=campaign_id, merchant_id=campaign.merchant_id
            )
        case = replace(case, question=replace(case.question, constraints=constraints))
        return await self._answer(case, model)

    async def optimize_planned_offer(
        self, planned: PlannedCampaign, objective: Objective, limits: OfferLimits = NO_LIMITS
    ) -> OfferAnswer:
        """Return the offer to make in a campaign that is only planned, within `limits` and its merchant's.

        Raises:
            NotFoundError: MERCHANT_UNKNOWN.
            FailedPreconditionError, UnavailableError: as `optimize_offer`.
        """
        async with self._database.transaction(readonly=True) as connection:
            model = await self._live.require(connection)
            await require_merchant(connection, planned.merchant_id)
            today = await fetch_reporting_day(connection, self._now())
            case = await _planned_case(connection, planned, objective, model, today)
            constraints = await _gather_constraints(
                connection, limits, campaign_id=None, merchant_id=planned.merchant_id
            )
        case = replace(case, question=replace(case.question, constraints=constraints))
        return await self._answer(case, model)

    async def _answer(self, case: OfferCase, model: ModelVersion) -> OfferAnswer:
        """Ask the model server once, and decide."""
        features = case.features(model.parameters)
        predicted = await self._models.infer(CONVERSION_MODEL, model.version, features)
        return answer_offer(case, predicted, model.parameters, model.version)


async def _gather_constraints(
    connection: Connection, limits: OfferLimits, *, campaign_id: str | None, merchant_id: int | None
) -> tuple[Constraint, ...]:
    """Return the limits of the request, of the campaign and of its merchant."""
    found = [(ConstraintSource.REQUEST, limits)]
    scopes = [
        Scope.of_campaign(campaign_id) if campaign_id is not None else None,
        Scope.of_merchant(merchant_id) if merchant_id is not None else None,
    ]
    for scope in scopes:
        kept = scope and await fetch_offer_constraints(connection, scope)
        if kept:
            found.append((kept.scope.kind, kept.limits))
    return gather(found)


async def _campaign_case(
    connection: Connection, campaign: Campaign, objective: Objective, model: ModelVersion, today: date
) -> OfferCase:
    """Load what is known of a campaign."""
    if campaign.campaign_type is None:
        raise FailedPreconditionError(
            "the catalog does not say what type the campaign is of; upsert it with its campaign_type",
            reason="OFFER_UNSUPPORTED",
        )
    days = Days(today=today)
    sent = await outcomes.list_campaign_offers(connection, campaign.campaign_id, *days.history)
    seen_until = None
    if mean_daily_views(sent) is None:
        seen_until = await outcomes.fetch_last_viewed_day(connection, campaign.campaign_id, *days.window)
    if seen_until is not None:
        as_it_was = Days(today=seen_until + timedelta(days=1))
        sent = await outcomes.list_campaign_offers(connection, campaign.campaign_id, *as_it_was.history)
    revenue = await outcomes.fetch_campaign_revenue(connection, campaign.campaign_id, *days.window)
    current = campaign.offer_micros if campaign.offer_micros is not None else latest_offer(sent)
    anchor_offers, anchor_weights = sent_anchor(
        sent,
        fallback_micros=current,
        campaign_type=campaign.campaign_type,
        support=model.parameters.support,
    )
    audience = await audiences.fetch_campaign_audience(connection, campaign.campaign_id)
    case = OfferCase(
        question=Question(
            campaign_type=campaign.campaign_type,
            current_offer_micros=current,
            objective=objective,
            economics=revenue.economics(campaign.gross_margin_rate),
        ),
        situation=Situation(
            day=today,
            campaign_type=campaign.campaign_type,
            merchant_id=campaign.merchant_id or 0,
            historical_impressions=sum(offer.impressions for offer in sent),
            historical_conversions=sum(offer.conversions for offer in sent),
        ),
        anchor_offers_micros=anchor_offers,
        anchor_weights=anchor_weights,
        known_rate=None,
        daily_views=mean_daily_views(sent),
        seen_until=seen_until,
        audience=audience,
        views_a_day=sum(offer.views for offer in sent) / HISTORY_DAYS if sent else None,
    )
    if case.daily_views is not None:
        return case
    typical = await outcomes.fetch_typical_history(connection, campaign.campaign_type, *days.history)
    return like_others(case, typical, model.parameters)


async def _planned_case(
    connection: Connection, planned: PlannedCampaign, objective: Objective, model: ModelVersion, today: date
) -> OfferCase:
    """Load what campaigns like a planned one are known to do."""
    days = Days(today=today)
    typical = await outcomes.fetch_typical_history(connection, planned.campaign_type, *days.history)
    by_currency = await outcomes.list_merchant_revenue(connection, planned.merchant_id, *days.window)
    revenue = by_currency[0] if len(by_currency) == 1 else RevenueTotals(conversions=0, revenue_micros=0)
    anchor_offers, anchor_weights = sent_anchor(
        (),
        fallback_micros=planned.current_offer_micros,
        campaign_type=planned.campaign_type,
        support=model.parameters.support,
    )
    case = OfferCase(
        question=Question(
            campaign_type=planned.campaign_type,
            current_offer_micros=planned.current_offer_micros,
            objective=objective,
            economics=revenue.economics(None),
        ),
        situation=planned_situation(planned, typical, today),
        anchor_offers_micros=anchor_offers,
        anchor_weights=anchor_weights,
        known_rate=planned.current_conversion_rate,
        views_a_day=typical.views / HISTORY_DAYS if typical.views else None,
        daily_views=typical.daily_views,
    )
    return case if case.known_rate is not None else like_others(case, typical, model.parameters)
