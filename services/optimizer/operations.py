"""The optimizer's use cases: load, decide, save; they own the transactions and the clock."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from services.common.database import Database
from services.common.errors import (
    AbortedError,
    DomainError,
    FailedPreconditionError,
    NotFoundError,
    UnavailableError,
)
from services.common.telemetry import get_logger
from services.optimizer.domain.campaigns import (
    Campaign,
    PlannedCampaign,
    RevenueTotals,
    latest_offer,
    mean_daily_views,
)
from services.optimizer.domain.features import HISTORY_DAYS, Situation
from services.optimizer.domain.model_version import CONVERSION_MODEL, ModelStatus, ModelVersion
from services.optimizer.domain.objectives import Objective
from services.optimizer.domain.offer_answer import (
    OfferAnswer,
    OfferCase,
    answer_offer,
    planned_situation,
    sent_anchor,
)
from services.optimizer.domain.recommendation import Question
from services.optimizer.domain.training_progress import TrainingProgress
from services.optimizer.domain.training_window import WINDOW_DAYS
from services.optimizer.model_client import ModelClient
from services.optimizer.store import Store

_log = get_logger("optimizer")


class Trainer(Protocol):
    """What trains on the days before `end_day` and returns the version that is then in ml_models."""

    async def run(self, end_day: date, on_progress: Callable[[TrainingProgress], None]) -> int:
        """Train; cancelling stops the training and waits for its end."""
        ...


class Operations:
    """The use cases over one database, one model server and one way of training."""

    def __init__(
        self, *, database: Database, models: ModelClient, trainer: Trainer, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._models = models
        self._trainer = trainer
        self._clock = clock
        self._live: ModelVersion | None = None

    async def require_database(self) -> None:
        """Raise UnavailableError while the database does not answer."""
        await self._database.ping()

    async def train(
        self, as_of: datetime | None, on_progress: Callable[[TrainingProgress], None]
    ) -> ModelVersion:
        """Train on the 90 days before `as_of` (default: now), and put the version live if it deserves it.

        Only whole days of the reporting zone that are over at `as_of` are read.

        Raises:
            AbortedError: another training runs (TRAINING_RUNNING), or this one was killed.
            FailedPreconditionError: too little data (DATA_INSUFFICIENT), or the model server refuses the
                version, which is then rejected.
            UnavailableError: the database or the model server does not answer.
        """
        await self._models.require_server()
        async with self._database.transaction() as connection:
            store = Store(connection)
            if not await store.try_lock_training():
                raise AbortedError(
                    "another training runs; wait for it to end, then ask again", reason="TRAINING_RUNNING"
                )
            end_day = (as_of or self._clock()).astimezone(await _reporting_zone(store)).date()
            version = await self._train_by_process(end_day, on_progress)
            trained = await self._fetch_model(version)
            if trained.status is ModelStatus.CANDIDATE:
                on_progress(TrainingProgress(stage="load_model", fraction=0.97))
                trained = await self._publish(trained)
        _log.info("trained", version=version, status=trained.status.value, why=trained.status_reason)
        return trained

    async def stream_training(
        self, as_of: datetime | None
    ) -> AsyncGenerator[TrainingProgress | ModelVersion]:
        """Do what `train` does; yields progress, and last the version. Closing it stops the training."""
        heard: asyncio.Queue[TrainingProgress | None] = asyncio.Queue()
        training = asyncio.create_task(self.train(as_of, heard.put_nowait))
        training.add_done_callback(lambda _: heard.put_nowait(None))
        try:
            while (progress := await heard.get()) is not None:
                yield progress
            yield await training
        finally:
            training.cancel()
            await asyncio.wait({training})

    async def optimize_offer(self, campaign_id: str, objective: Objective) -> OfferAnswer:
        """Return the offer to make in a campaign of the catalog.

        Raises:
            NotFoundError: CAMPAIGN_UNKNOWN.
            FailedPreconditionError: MODEL_NOT_TRAINED, OFFER_UNSUPPORTED, REVENUE_UNKNOWN,
                OFFER_UNPROFITABLE.
            UnavailableError: the database or the model server does not answer.
        """
        async with self._database.transaction(readonly=True) as connection:
            store = Store(connection)
            model = await self._fetch_live(store)
            campaign = await store.fetch_campaign(campaign_id)
            if campaign is None:
                raise NotFoundError(
                    f"no campaign {campaign_id!r}",
                    reason="CAMPAIGN_UNKNOWN",
                    metadata={"campaign_id": campaign_id},
                )
            today = await self._today(store)
            case = await _campaign_case(store, campaign, objective, model, today)
        return await self._answer(case, model)

    async def optimize_planned_offer(self, planned: PlannedCampaign, objective: Objective) -> OfferAnswer:
        """Return the offer to make in a campaign that is only planned.

        Raises:
            NotFoundError: MERCHANT_UNKNOWN.
            FailedPreconditionError, UnavailableError: as `optimize_offer`.
        """
        async with self._database.transaction(readonly=True) as connection:
            store = Store(connection)
            model = await self._fetch_live(store)
            if not await store.has_merchant(planned.merchant_id):
                raise NotFoundError(
                    f"no merchant {planned.merchant_id}",
                    reason="MERCHANT_UNKNOWN",
                    metadata={"merchant_id": str(planned.merchant_id)},
                )
            today = await self._today(store)
            case = await _planned_case(store, planned, objective, model, today)
        return await self._answer(case, model)

    async def _answer(self, case: OfferCase, model: ModelVersion) -> OfferAnswer:
        """Ask the model server once, and decide."""
        features = case.features(model.parameters)
        predicted = await self._models.infer(CONVERSION_MODEL, model.version, features)
        return answer_offer(case, predicted, model.parameters, model.version)

    async def _train_by_process(self, end_day: date, on_progress: Callable[[TrainingProgress], None]) -> int:
        try:
            return await self._trainer.run(end_day, on_progress)
        except OSError as error:  # must not look like a lost database to the transaction around
            raise UnavailableError(
                "the training process cannot be started now", reason="TRAINING_STOPPED"
            ) from error

    async def _publish(self, trained: ModelVersion) -> ModelVersion:
        """Have the model server serve a candidate, and only then call it live.

        What was live stays so until this commits, and the server keeps serving it beside the new one.
        """
        try:
            await self._models.load(CONVERSION_MODEL, trained.version)
        except DomainError as error:
            await self._reject(trained.version, f"the model server did not take it: {error.message}")
            raise
        now = self._clock()
        async with self._database.transaction() as connection:
            store = Store(connection)
            await store.retire_live_model(f"replaced by version {trained.version}", now)
            await store.update_model_status(trained.version, ModelStatus.LIVE, trained.status_reason, now)
        return await self._fetch_model(trained.version)

    async def _reject(self, version: int, reason: str) -> None:
        async with self._database.transaction() as connection:
            store = Store(connection)
            await store.update_model_status(version, ModelStatus.REJECTED, reason, self._clock())

    async def _fetch_model(self, version: int) -> ModelVersion:
        async with self._database.transaction(readonly=True) as connection:
            model = await Store(connection).fetch_model(version)
        if model is None:
            raise LookupError(f"version {version} is not in ml_models")
        return model

    async def _fetch_live(self, store: Store) -> ModelVersion:
        """Return the live version; what does not change about a version is read once."""
        version = await store.fetch_live_version()
        if version is None:
            raise FailedPreconditionError(
                "no model is live; train one first (TrainModel, POST /api/optimize/train-model)",
                reason="MODEL_NOT_TRAINED",
            )
        if self._live is None or self._live.version != version:
            self._live = await store.fetch_model(version)
        if self._live is None:
            raise LookupError(f"version {version} is not in ml_models")
        return self._live

    async def _today(self, store: Store) -> date:
        return self._clock().astimezone(await _reporting_zone(store)).date()


@dataclass(frozen=True, kw_only=True)
class _Days:
    """The days that an answer looks back on, up to and without today."""

    today: date

    @property
    def history(self) -> tuple[date, date]:
        return self.today - timedelta(days=HISTORY_DAYS), self.today

    @property
    def window(self) -> tuple[date, date]:
        return self.today - timedelta(days=WINDOW_DAYS), self.today


async def _reporting_zone(store: Store) -> ZoneInfo:
    """Return the zone of the reporting days; UTC before analytics first started, when there are none."""
    return ZoneInfo(await store.fetch_reporting_time_zone() or "UTC")


async def _campaign_case(
    store: Store, campaign: Campaign, objective: Objective, model: ModelVersion, today: date
) -> OfferCase:
    """Load what is known of a campaign."""
    if campaign.campaign_type is None:
        raise FailedPreconditionError(
            "the catalog does not say what type the campaign is of; upsert it with its campaign_type",
            reason="OFFER_UNSUPPORTED",
        )
    days = _Days(today=today)
    sent = await store.list_campaign_offers(campaign.campaign_id, *days.history)
    seen_until = None
    if mean_daily_views(sent) is None:
        seen_until = await store.fetch_last_viewed_day(campaign.campaign_id, *days.window)
    if seen_until is not None:
        as_it_was = _Days(today=seen_until + timedelta(days=1))
        sent = await store.list_campaign_offers(campaign.campaign_id, *as_it_was.history)
    revenue = await store.fetch_campaign_revenue(campaign.campaign_id, *days.window)
    current = campaign.offer_micros if campaign.offer_micros is not None else latest_offer(sent)
    anchor_offers, anchor_weights = sent_anchor(
        sent,
        fallback_micros=current,
        campaign_type=campaign.campaign_type,
        support=model.parameters.support,
    )
    return OfferCase(
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
    )


async def _planned_case(
    store: Store, planned: PlannedCampaign, objective: Objective, model: ModelVersion, today: date
) -> OfferCase:
    """Load what campaigns like a planned one are known to do."""
    days = _Days(today=today)
    typical = await store.fetch_typical_history(planned.campaign_type, *days.history)
    by_currency = await store.list_merchant_revenue(planned.merchant_id, *days.window)
    revenue = by_currency[0] if len(by_currency) == 1 else RevenueTotals(conversions=0, revenue_micros=0)
    anchor_offers, anchor_weights = sent_anchor(
        (),
        fallback_micros=planned.current_offer_micros,
        campaign_type=planned.campaign_type,
        support=model.parameters.support,
    )
    return OfferCase(
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
        daily_views=None if planned.current_conversion_rate is None else typical.daily_views,
    )
