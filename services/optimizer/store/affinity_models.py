"""Statements of fitted models of users' visits to merchants."""

import json
from dataclasses import dataclass
from datetime import date, datetime

from services.optimizer.domain.affinity_documents import from_document, to_document
from services.optimizer.domain.affinity_features import Merchants
from services.optimizer.domain.affinity_model import AffinityModel
from services.optimizer.domain.affinity_tables import MerchantRow, merchants_of, model_of, similarity_rows
from services.optimizer.store.statements import STATEMENTS, Connection, Record, fetch_required


@dataclass(frozen=True, kw_only=True)
class LiveAffinity:
    """The live version; `refreshed_until`: kept scores hold what came in before, None while they are made."""

    version: int
    refreshed_until: datetime | None


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


async def list_merchants(connection: Connection) -> Merchants:
    """Return the merchants of the catalog."""
    rows = await connection.fetch(STATEMENTS["list_affinity_merchants"].sql)
    return merchants_of([_merchant(row) for row in rows])


async def fetch_live(connection: Connection) -> LiveAffinity | None:
    """Return the live version's number and how fresh its kept scores are."""
    row = await connection.fetchrow(STATEMENTS["fetch_live_affinity_version"].sql)
    return (
        None if row is None else LiveAffinity(version=row["version"], refreshed_until=row["refreshed_until"])
    )


async def fetch_newest_version(connection: Connection) -> int:
    """Return the highest version there ever was, 0 for none."""
    return int((await fetch_required(connection, "fetch_newest_affinity_version"))["version"])


async def fetch_model(connection: Connection, version: int) -> AffinityModel:
    """Return a version that is known to be live, with all that it keeps."""
    row = await fetch_required(connection, "fetch_affinity_model", version)
    known = await connection.fetch(STATEMENTS["list_affinity_model_merchants"].sql, version)
    similar = await connection.fetch(STATEMENTS["list_merchant_similarities"].sql, version)
    return model_of(
        version,
        from_document(json.loads(row["parameters"])),
        [_merchant(entry) for entry in known],
        [(entry["visitor_share"], entry["weekly_share"]) for entry in known],
        [(entry["merchant_id"], entry["neighbour_id"], entry["similarity"]) for entry in similar],
    )


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


async def update_refreshed_until(connection: Connection, version: int, until: datetime) -> None:
    """Say until when the kept scores of a version hold what came in."""
    await connection.execute(STATEMENTS["update_affinity_refreshed_until"].sql, version, until)


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
