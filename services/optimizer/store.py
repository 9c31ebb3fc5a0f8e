"""The optimizer's statements, one method each: rows in, dataclasses out."""

import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final

import asyncpg

from services.common.database import Connection
from services.common.statements import load_statements
from services.optimizer.domain.campaigns import (
    Campaign,
    RevenueSpread,
    RevenueTotals,
    SentOffer,
    TypicalHistory,
)
from services.optimizer.domain.features import DailyTable, daily_table
from services.optimizer.domain.model_version import (
    CONVERSION_MODEL,
    Importance,
    ModelStatus,
    ModelVersion,
    Scores,
    TrainingData,
)
from services.optimizer.domain.serving_parameters import from_document, to_document

_STATEMENTS: Final = load_statements("services.optimizer")


class Store:
    """The statements on one connection; the caller owns the transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def try_lock_training(self) -> bool:
        """Return whether this transaction may train; the right ends with it."""
        row = await self._fetch_required("try_lock_training")
        return bool(row["locked"])

    async def fetch_reporting_time_zone(self) -> str | None:
        """Return the IANA name of the reporting zone, None before analytics first started."""
        row = await self._fetch("fetch_reporting_time_zone")
        return None if row is None else str(row["reporting_time_zone"])

    async def list_daily_outcomes(self, first_day: date, end_day: date) -> DailyTable:
        """Return the outcomes of the days [first_day, end_day)."""
        rows = await self._list("list_daily_outcomes", first_day, end_day)
        return daily_table([tuple(row) for row in rows])

    async def fetch_campaign(self, campaign_id: str) -> Campaign | None:
        """Return a campaign of the catalog."""
        row = await self._fetch("fetch_campaign", campaign_id)
        if row is None:
            return None
        return Campaign(
            campaign_id=row["campaign_id"],
            campaign_type=row["campaign_type"] or None,
            merchant_id=row["merchant_id"],
            offer_micros=row["offer_amount_micros"],
            gross_margin_rate=row["gross_margin_rate"],
        )

    async def has_merchant(self, merchant_id: int) -> bool:
        """Return whether the catalog knows a merchant."""
        return await self._fetch("fetch_merchant", merchant_id) is not None

    async def list_campaign_offers(
        self, campaign_id: str, first_day: date, end_day: date
    ) -> tuple[SentOffer, ...]:
        """Return what a campaign sent in the days [first_day, end_day), by offer."""
        rows = await self._list("list_campaign_offers", campaign_id, first_day, end_day)
        return tuple(
            SentOffer(
                offer_micros=row["offer_amount_micros"],
                impressions=row["impressions"],
                views=row["views"],
                conversions=row["conversions"],
                viewed_days=row["viewed_days"],
                last_day=row["last_day"],
            )
            for row in rows
        )

    async def fetch_last_viewed_day(self, campaign_id: str, first_day: date, end_day: date) -> date | None:
        """Return the last of the days [first_day, end_day) on which somebody viewed a campaign."""
        row = await self._fetch_required("fetch_last_viewed_day", campaign_id, first_day, end_day)
        day: date | None = row["last_day"]
        return day

    async def fetch_campaign_revenue(self, campaign_id: str, first_day: date, end_day: date) -> RevenueTotals:
        """Return a campaign's conversions and revenue in the days [first_day, end_day)."""
        row = await self._fetch_required("fetch_campaign_revenue", campaign_id, first_day, end_day)
        return _revenue_totals(row)

    async def list_merchant_revenue(
        self, merchant_id: int, first_day: date, end_day: date
    ) -> tuple[RevenueTotals, ...]:
        """Return conversions and revenue of a merchant's campaigns, one entry per currency."""
        rows = await self._list("list_merchant_revenue", merchant_id, first_day, end_day)
        return tuple(_revenue_totals(row) for row in rows)

    async def fetch_typical_history(
        self, campaign_type: int, first_day: date, end_day: date
    ) -> TypicalHistory:
        """Return what the average campaign of a type did in the days [first_day, end_day)."""
        row = await self._fetch_required("fetch_typical_history", campaign_type, first_day, end_day)
        return TypicalHistory(
            impressions=row["impressions"],
            views=row["views"],
            conversions=row["conversions"],
            daily_views=row["daily_views"],
        )

    async def fetch_newest_version(self) -> int:
        """Return the highest version the conversion model ever had, 0 for none."""
        row = await self._fetch_required("fetch_newest_version", CONVERSION_MODEL)
        return int(row["version"])

    async def fetch_live_version(self) -> int | None:
        """Return the live version's number."""
        row = await self._fetch("fetch_live_version", CONVERSION_MODEL)
        return None if row is None else int(row["version"])

    async def fetch_model(self, version: int) -> ModelVersion | None:
        """Return one version of the conversion model."""
        row = await self._fetch("fetch_model", CONVERSION_MODEL, version)
        if row is None:
            return None
        importances = await self._list("list_feature_importances", CONVERSION_MODEL, version)
        return _model_version(row, importances)

    async def insert_model(self, model: ModelVersion) -> None:
        """Keep a trained version with its feature importances."""
        data, scores = model.data, model.scores
        await self._execute(
            "insert_model",
            CONVERSION_MODEL,
            model.version,
            model.status.value,
            model.status_reason,
            model.trained_at,
            model.code_version,
            model.training_seconds,
            data.first_day,
            data.split_day,
            data.end_day,
            data.fitted_rows,
            data.held_out_rows,
            data.views,
            data.conversions,
            scores.r2_score,
            scores.mae,
            scores.response_r2_score,
            scores.global_mean_r2_score,
            scores.global_mean_mae,
            scores.type_mean_r2_score,
            scores.type_mean_mae,
            scores.noise_ceiling,
            scores.live_r2_score,
            model.parity_error,
            json.dumps(to_document(model.parameters), allow_nan=False),
        )
        await self._execute(
            "insert_feature_importances",
            CONVERSION_MODEL,
            model.version,
            [importance.feature_name for importance in model.importances],
            [importance.permutation for importance in model.importances],
            [importance.impurity for importance in model.importances],
        )

    async def reject_interrupted_models(self, reason: str, now: datetime) -> None:
        """Reject every candidate."""
        await self._execute("reject_interrupted_models", CONVERSION_MODEL, reason, now)

    async def retire_live_model(self, reason: str, now: datetime) -> None:
        """Take the live version out of service, if there is one."""
        await self._execute("retire_live_model", CONVERSION_MODEL, reason, now)

    async def update_model_status(
        self, version: int, status: ModelStatus, reason: str, now: datetime
    ) -> None:
        """Set where a version stands."""
        await self._execute("update_model_status", CONVERSION_MODEL, version, status.value, reason, now)

    async def _fetch(self, name: str, *arguments: object) -> asyncpg.Record | None:
        return await self._connection.fetchrow(_STATEMENTS[name].sql, *arguments)

    async def _fetch_required(self, name: str, *arguments: object) -> asyncpg.Record:
        row = await self._fetch(name, *arguments)
        if row is None:
            raise LookupError(f"statement {name} answers with one row, always")
        return row

    async def _list(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        return await self._connection.fetch(_STATEMENTS[name].sql, *arguments)

    async def _execute(self, name: str, *arguments: object) -> None:
        await self._connection.execute(_STATEMENTS[name].sql, *arguments)


def _revenue_totals(row: asyncpg.Record) -> RevenueTotals:
    return RevenueTotals(
        conversions=row["conversions"],
        revenue_micros=row["revenue_micros"],
        spread=RevenueSpread(**{name: row[name] for name in RevenueSpread.__dataclass_fields__}),
    )


def _model_version(row: asyncpg.Record, importances: Sequence[asyncpg.Record]) -> ModelVersion:
    document: dict[str, Any] = json.loads(row["serving_parameters"])
    return ModelVersion(
        version=row["version"],
        status=ModelStatus(row["status"]),
        status_reason=row["status_reason"],
        code_version=row["code_version"],
        trained_at=row["trained_at"],
        training_seconds=row["training_seconds"],
        data=TrainingData(**{name: row[name] for name in TrainingData.__dataclass_fields__}),
        scores=Scores(**{name: row[name] for name in Scores.__dataclass_fields__}),
        parity_error=row["parity_error"],
        parameters=from_document(document),
        importances=tuple(
            Importance(
                feature_name=entry["feature_name"],
                permutation=entry["permutation_importance"],
                impurity=entry["impurity_importance"],
            )
            for entry in importances
        ),
    )
