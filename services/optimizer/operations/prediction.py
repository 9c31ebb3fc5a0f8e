"""What planned campaigns would do: loads what is known, and predicts."""

import math
from collections.abc import Callable
from datetime import datetime

from services.common.database import Connection, Database
from services.optimizer.domain.campaigns import UNKNOWN_TERMS
from services.optimizer.domain.offers.prediction import Plan, Prediction, Surroundings, predict_plan
from services.optimizer.domain.response.revenue_spread import CampaignRevenue, survey_revenue
from services.optimizer.operations.days import Days, fetch_reporting_day
from services.optimizer.operations.lookup import LiveModel, require_merchant
from services.optimizer.store import catalog, outcomes


class PredictionOperations:
    """The use case of predictions over one database."""

    def __init__(self, database: Database, *, live: LiveModel, now: Callable[[], datetime]) -> None:
        self._database = database
        self._live = live
        self._now = now

    async def predict_campaign(self, plan: Plan) -> Prediction:
        """Return what a planned campaign would do.

        Raises:
            NotFoundError: MERCHANT_UNKNOWN.
            FailedPreconditionError: MODEL_NOT_TRAINED, OFFER_UNSUPPORTED.
            UnavailableError: the database does not answer.
        """
        async with self._database.transaction(readonly=True) as connection:
            model = await self._live.require(connection)
            await require_merchant(connection, plan.merchant_id)
            days = Days(today=await fetch_reporting_day(connection, self._now()))
            typical = await outcomes.fetch_typical_history(connection, plan.campaign_type, *days.history)
            revenue, terms = None, UNKNOWN_TERMS
            if plan.impressions is not None:
                revenue = await _fetch_revenue(connection, plan.merchant_id, days)
                terms = await catalog.fetch_merchant_terms(connection, plan.merchant_id)
        around = Surroundings(
            daily_views=typical.daily_views, revenue=revenue, currency_code=terms.currency_code
        )
        return predict_plan(plan, around, model.parameters, model.version)


async def _fetch_revenue(connection: Connection, merchant_id: int, days: Days) -> CampaignRevenue | None:
    """Return what conversions of a merchant bring; None where they bring none, or two currencies."""
    totals = await outcomes.list_merchant_revenue(connection, merchant_id, *days.window)
    if len(totals) != 1:
        return None
    error = totals[0].economics(None).revenue_relative_error
    return survey_revenue(
        merchant_id,
        await outcomes.list_campaign_revenue(connection, merchant_id, *days.window),
        order_variation=error * math.sqrt(totals[0].conversions),
    )
