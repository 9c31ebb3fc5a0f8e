"""Statements of users' contacts with merchants, and of the merchants kept for users."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.optimizer.domain.affinity.answer import MerchantAffinity
from services.optimizer.domain.affinity.contacts import Contacts
from services.optimizer.domain.affinity.tables import ExposureRow, contacts_of
from services.optimizer.domain.receipt import LATE_RECEIPT
from services.optimizer.store.statements import STATEMENTS, Connection, fetch_required

_KEPT_COLUMNS: Final = (
    *("user_id", "merchant_id", "affinity_score", "reasons", "computed_at"),
    *("model_version", "is_returning", "distance_km", "received_until"),
)


@dataclass(frozen=True, kw_only=True)
class UserStanding:
    """Who knows a user, and when the newest event came in by which the user met a merchant."""

    is_known: bool
    newest_contact_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class KeptAffinity:
    """A user's kept merchants, best first, without what their scores are worth.

    They hold all that came in before `received_until`, by the database's clock; None: nobody knows.
    """

    computed_at: datetime
    received_until: datetime | None
    merchants: tuple[MerchantAffinity, ...]


async def fetch_user_standing(connection: Connection, user_id: str) -> UserStanding:
    """Return who knows a user."""
    row = await fetch_required(connection, "fetch_user_standing", user_id)
    return UserStanding(
        is_known=row["in_catalog"] or row["in_events"], newest_contact_at=row["newest_contact_at"]
    )


async def list_contact_users(connection: Connection, after: str, since: datetime, limit: int) -> list[str]:
    """Return the next users, by id, who met a merchant since a time."""
    rows = await connection.fetch(STATEMENTS["list_contact_users"].sql, after, since, limit)
    return [row["user_id"] for row in rows]


async def list_changed_users(connection: Connection, after: str, since: datetime, limit: int) -> list[str]:
    """Return the next users, by id, who met a merchant by events that came in since a time."""
    rows = await connection.fetch(STATEMENTS["list_changed_users"].sql, after, since, limit)
    return [row["user_id"] for row in rows]


async def has_changed_users(connection: Connection, since: datetime) -> bool:
    """Return whether anybody met a merchant by events that came in since a time."""
    return bool((await fetch_required(connection, "has_changed_users", since))["has_changed"])


async def list_contacts(
    connection: Connection,
    user_ids: Sequence[str],
    merchants: dict[int, int],
    since: datetime,
    zone: str,
) -> Contacts:
    """Return the contacts of users since a time, with merchants that have a position in `merchants`."""
    places = {user_id: place for place, user_id in enumerate(user_ids)}
    rows = await connection.fetch(STATEMENTS["list_contacts"].sql, list(user_ids), since, zone)
    return contacts_of(
        [(places[row["user_id"]], row["merchant_id"], row["kind"], row["day"]) for row in rows], merchants
    )


async def list_exposures(
    connection: Connection, user_ids: Sequence[str], since: datetime, zone: str
) -> list[ExposureRow]:
    """Return users' views of campaigns since a time, and conversions in them."""
    places = {user_id: place for place, user_id in enumerate(user_ids)}
    rows = await connection.fetch(STATEMENTS["list_exposures"].sql, list(user_ids), since, zone)
    return [
        (
            *(places[row["user_id"]], row["campaign_id"], row["merchant_id"], row["offer_micros"]),
            *(row["day"], row["views"], row["conversions"]),
        )
        for row in rows
    ]


async def fetch_kept_affinity(
    connection: Connection, user_id: str, version: int, limit: int
) -> KeptAffinity | None:
    """Return the merchants kept for a user by a version."""
    rows = await connection.fetch(STATEMENTS["list_kept_affinities"].sql, user_id, version, limit)
    if not rows:
        return None
    merchants = tuple(
        MerchantAffinity(
            merchant_id=row["merchant_id"],
            merchant_name=row["merchant_name"],
            score=row["affinity_score"],
            score_range=None,
            reasons=tuple(row["reasons"]),
            is_returning=row["is_returning"],
            distance_km=row["distance_km"],
        )
        for row in rows
    )
    return KeptAffinity(
        computed_at=rows[0]["computed_at"], received_until=rows[0]["received_until"], merchants=merchants
    )


async def replace_kept_affinities(
    connection: Connection,
    kept: Sequence[tuple[str, Sequence[MerchantAffinity]]],
    version: int,
    now: datetime,
) -> None:
    """Keep the merchants of users, of contacts read in this transaction, instead of those kept before."""
    began_at = (await fetch_required(connection, "fetch_transaction_time"))["began_at"]
    await connection.execute(STATEMENTS["delete_user_affinities"].sql, [user_id for user_id, _ in kept])
    records = [
        (
            *(user_id, merchant.merchant_id, merchant.score, list(merchant.reasons), now),
            *(version, merchant.is_returning, merchant.distance_km, began_at - LATE_RECEIPT),
        )
        for user_id, merchants in kept
        for merchant in merchants
    ]
    await connection.copy_records_to_table(
        "user_merchant_affinity", schema_name="optimizer", records=records, columns=list(_KEPT_COLUMNS)
    )


async def delete_outdated_affinities(connection: Connection, version: int) -> None:
    """Forget what versions other than this one kept."""
    await connection.execute(STATEMENTS["delete_outdated_affinities"].sql, version)
