"""Statements of fitted models of users' visits to merchants."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from services.optimizer.domain.affinity.documents import from_document, to_document
from services.optimizer.domain.affinity.features import Merchants
from services.optimizer.domain.affinity.model import AffinityModel
from services.optimizer.domain.affinity.tables import (
    MerchantRow,
    merchants_of,
    model_of,
    similarity_rows,
    unpack_similarities,
)
from services.optimizer.store.statements import STATEMENTS, Connection, Record, fetch_required


@dataclass(frozen=True, kw_only=True)
class LiveAffinity:
    """The live version.

    Kept scores hold what came in before `refreshed_until`, by the database's clock; None until everybody is
    scored for the first time. `is_scoring` while a scoring of users is under way, or was cut off.
    """

    version: int
    fitted_at: datetime
    refreshed_until: datetime | None
    is_scoring: bool


@dataclass(frozen=True, kw_only=True)
class ScoringPass:
    """A scoring of users after `user_id`: of everybody (`refreshed_until` None), or of users of late."""

    refreshed_until: datetime | None
    user_id: str


@dataclass(frozen=True, kw_only=True)
class AffinityFit:
    """A fit as it is kept."""

    model: AffinityModel
    is_live: bool
    reason: str
    fitted_at: datetime
    end_day: date
    users: int
    visits: int
    log_loss: float
    frequency_log_loss: float
    calibration_error: float
    recall: float | None
    frequency_recall: float | None
    popularity_recall: float | None


async def lock_affinity(connection: Connection) -> None:
    """Keep other fits and refreshes out until the transaction ends."""
    await fetch_required(connection, "lock_affinity")


async def is_free(connection: Connection) -> bool:
    """Return whether nobody fits or refreshes just now."""
    return bool((await fetch_required(connection, "is_affinity_free"))["is_free"])


async def list_merchants(connection: Connection) -> Merchants:
    """Return the merchants of the catalog."""
    rows = await connection.fetch(STATEMENTS["list_affinity_merchants"].sql)
    return merchants_of([_merchant(row) for row in rows])


async def fetch_live(connection: Connection) -> LiveAffinity | None:
    """Return the live version and how fresh its kept scores are."""
    row = await connection.fetchrow(STATEMENTS["fetch_live_affinity_version"].sql)
    if row is None:
        return None
    return LiveAffinity(
        version=row["version"],
        fitted_at=row["fitted_at"],
        refreshed_until=row["refreshed_until"],
        is_scoring=row["pass_started_at"] is not None or row["refreshed_until"] is None,
    )


async def fetch_newest_version(connection: Connection) -> int:
    """Return the highest version there ever was, 0 for none."""
    return int((await fetch_required(connection, "fetch_newest_affinity_version"))["version"])


async def fetch_model(connection: Connection, version: int) -> AffinityModel:
    """Return a version that is known to be live, with all that it keeps."""
    row = await fetch_required(connection, "fetch_affinity_model", version)
    known = await connection.fetch(STATEMENTS["list_affinity_model_merchants"].sql, version)
    similar = await fetch_required(connection, "pack_merchant_similarities", version)
    # Tens of thousands of merchants take long enough to hold others up.
    return await asyncio.to_thread(_to_model, version, row["parameters"], known, similar)


async def insert_fit(connection: Connection, fit: AffinityFit) -> None:
    """Keep a fit; a live one takes the place of the one before."""
    model = fit.model
    if fit.is_live:
        await connection.execute(
            STATEMENTS["retire_live_affinity_model"].sql, f"replaced by version {model.version}"
        )
    await connection.execute(
        STATEMENTS["insert_affinity_model"].sql,
        model.version,
        "live" if fit.is_live else "rejected",
        fit.reason,
        fit.fitted_at,
        fit.end_day,
        fit.users,
        fit.visits,
        fit.log_loss,
        fit.frequency_log_loss,
        fit.calibration_error,
        fit.recall,
        fit.frequency_recall,
        fit.popularity_recall,
        json.dumps(to_document(model), allow_nan=False),
    )
    if fit.is_live:
        await _insert_details(connection, model)
    await connection.execute(STATEMENTS["delete_affinity_details"].sql)


async def begin_pass(connection: Connection, version: int) -> ScoringPass:
    """Begin to score users by a version, or go on with what was begun."""
    row = await fetch_required(connection, "begin_affinity_pass", version)
    return ScoringPass(refreshed_until=row["refreshed_until"], user_id=row["pass_user_id"])


async def update_pass(connection: Connection, version: int, user_id: str) -> None:
    """Say up to whom users are scored."""
    await connection.execute(STATEMENTS["update_affinity_pass"].sql, version, user_id)


async def end_pass(connection: Connection, version: int) -> None:
    """Say that all are scored: what came in before the pass began is held."""
    await connection.execute(STATEMENTS["end_affinity_pass"].sql, version)


def _to_model(version: int, parameters: str, known: Sequence[Record], similar: Record) -> AffinityModel:
    model = model_of(
        version,
        from_document(json.loads(parameters)),
        [_merchant(entry) for entry in known],
        [(entry["visitor_share"], entry["weekly_share"]) for entry in known],
        unpack_similarities(similar["merchants"], similar["neighbours"], similar["similarities"]),
    )
    model.prepare()
    return model


async def _insert_details(connection: Connection, model: AffinityModel) -> None:
    await connection.execute(
        STATEMENTS["insert_affinity_merchants"].sql,
        model.version,
        model.merchants.ids.tolist(),
        model.visitor_share.tolist(),
        model.weekly_share.tolist(),
    )
    similar = similarity_rows(model)
    await connection.execute(
        STATEMENTS["insert_merchant_similarities"].sql,
        model.version,
        *([row[place] for row in similar] for place in range(3)),
    )


def _merchant(row: Record) -> MerchantRow:
    return (
        *(row["merchant_id"], row["merchant_name"], row["category"]),
        *(row["latitude"], row["longitude"]),
    )
