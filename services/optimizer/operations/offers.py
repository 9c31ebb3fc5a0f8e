"""Which offer to make: loads what is known of a campaign, asks the model server once, and decides."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime

from services.common.database import Connection, Database
from services.common.errors import FailedPreconditionError
from services.optimizer.domain.campaigns import (
    UNKNOWN_TERMS,
    Campaign,
    PlannedCampaign,
    RevenueTotals,
)
from services.optimizer.domain.features import HISTORY_DAYS
from services.optimizer.domain.models.version import CONVERSION_MODEL, ModelVersion
from services.optimizer.domain.objectives import Objective
from services.optimizer.domain.offers.answer import OfferAnswer, answer_offer
from services.optimizer.domain.offers.case import (
    OfferCase,
    days_to_come,
    planned_situation,
    sent_anchor,
)
from services.optimizer.domain.offers.constraints import (
    NO_LIMITS,
    Constraint,
    ConstraintSource,
    OfferLimits,
    Scope,
    gather,
)
from services.optimizer.domain.offers.recommendation import Question
from services.optimizer.domain.offers.unseen_campaigns import as_seen, like_others
from services.optimizer.model_client import ModelClient
from services.optimizer.operations.campaign_cases import load_cases
from services.optimizer.operations.days import Days, fetch_reporting_day, fetch_reporting_zone
from services.optimizer.operations.lookup import LiveModel, require_campaign, require_merchant
from services.optimizer.store import catalog, outcomes
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
                GROSS_MARGIN_UNKNOWN, OFFER_UNPROFITABLE, OFFER_CONSTRAINED.
            UnavailableError: the database or the model server does not answer.
        """
        async with self._database.transaction(readonly=True) as connection:
            model = await self._live.require(connection)
            campaign = await require_campaign(connection, campaign_id)
            zone, now = await fetch_reporting_zone(connection), self._now()
            today = now.astimezone(zone).date()
            case = await _campaign_case(connection, campaign, objective, model, today)
            if campaign.end_at is not None and campaign.has_ended(now):
                case = replace(case, ended_on=campaign.end_at.astimezone(zone).date())
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
    (case,) = await load_cases(connection, [campaign], model, today)
    days = Days(today=today)
    revenue = await outcomes.fetch_campaign_revenue(connection, campaign.campaign_id, *days.window)
    margin, terms = campaign.gross_margin_rate, UNKNOWN_TERMS
    if margin is None and campaign.merchant_id is not None:
        terms = await catalog.fetch_merchant_terms(connection, campaign.merchant_id)
    return replace(
        case,
        question=replace(
            case.question,
            objective=objective,
            economics=revenue.economics(terms.mean_margin if margin is None else margin),
        ),
        terms=terms,
        is_margin_of_merchant=margin is None and terms.mean_margin is not None,
        currency_code=campaign.currency_code,
    )


async def _planned_case(
    connection: Connection, planned: PlannedCampaign, objective: Objective, model: ModelVersion, today: date
) -> OfferCase:
    """Load what campaigns like a planned one are known to do."""
    days = Days(today=today)
    typical = await outcomes.fetch_typical_history(connection, planned.campaign_type, *days.history)
    by_currency = await outcomes.list_merchant_revenue(connection, planned.merchant_id, *days.window)
    revenue = by_currency[0] if len(by_currency) == 1 else RevenueTotals(conversions=0, revenue_micros=0)
    terms = await catalog.fetch_merchant_terms(connection, planned.merchant_id)
    margin = planned.gross_margin_rate
    anchor_offers, anchor_weights = sent_anchor(
        (),
        fallback_micros=planned.current_offer_micros,
        campaign_type=planned.campaign_type,
        support=model.parameters.support,
    )
    stated, of_type = planned.views_a_day, typical.views / HISTORY_DAYS if typical.views else None
    case = OfferCase(
        question=Question(
            campaign_type=planned.campaign_type,
            current_offer_micros=planned.current_offer_micros,
            objective=objective,
            economics=revenue.economics(terms.mean_margin if margin is None else margin),
        ),
        situation=planned_situation(planned, typical, today),
        days=days_to_come(today, ()),
        anchor_offers_micros=anchor_offers,
        anchor_weights=anchor_weights,
        known_rate=planned.current_conversion_rate,
        known_rate_views=planned.current_views,
        daily_views=typical.daily_views,
        views_a_day=of_type if stated is None else stated,
        are_views_of_type=stated is None,
        are_views_stated=stated is not None,
        terms=terms,
        is_margin_of_merchant=margin is None and terms.mean_margin is not None,
        currency_code=terms.currency_code,
    )
    if case.known_rate is not None:
        return as_seen(case, model.parameters)
    return like_others(case, typical, model.parameters)
