"""Statements that take events in."""

from collections.abc import Mapping, Sequence
from dataclasses import fields

from services.analytics.domain.ingestion import (
    CampaignStamp,
    Identity,
    StampedEvents,
    StoredEvent,
    StoredRefund,
    event_content,
)
from services.analytics.store.statements import STATEMENTS, Connection

_STAGED = [field.name for field in fields(StampedEvents) if field.name != "index"]


async def open_batch(connection: Connection) -> None:
    """Keep the catalog as it is until the transaction ends, and make ready to stage events."""
    await connection.execute(STATEMENTS["open_batch"].sql)


async def list_campaign_stamps(
    connection: Connection, campaign_ids: Sequence[str]
) -> Mapping[str, CampaignStamp]:
    """Return what events of those of `campaign_ids` that are in the catalog are stamped with."""
    rows = await connection.fetch(STATEMENTS["list_campaign_stamps"].sql, campaign_ids)
    return {row["campaign_id"]: CampaignStamp(**row) for row in rows}


async def list_merchant_currencies(connection: Connection, merchant_ids: Sequence[int]) -> Mapping[int, str]:
    """Return the currencies of those of `merchant_ids` that have one."""
    rows = await connection.fetch(STATEMENTS["list_merchant_currencies"].sql, merchant_ids)
    return {row["merchant_id"]: row["currency_code"] for row in rows}


async def fix_currencies(connection: Connection, currencies: Mapping[str, str]) -> None:
    """Fix the currency of each campaign that has none fixed."""
    await connection.execute(
        STATEMENTS["fix_currencies"].sql, list(currencies.keys()), list(currencies.values())
    )


async def clear_batch(connection: Connection) -> None:
    """Make room for another part of the batch."""
    await connection.execute(STATEMENTS["clear_batch"].sql)


async def insert_events(connection: Connection, events: StampedEvents, *, slot: int) -> set[Identity]:
    """Insert events, count the new ones in every rollup, and return the identities that were not new.

    They are staged by COPY: as arrays the driver takes seven times as long over them. Needs `open_batch`, and
    `clear_batch` before a second part.
    """
    await connection.copy_records_to_table(
        "staged_events",
        schema_name="pg_temp",
        columns=_STAGED,
        records=zip(*(getattr(events, column) for column in _STAGED), strict=True),
    )
    rows = await connection.fetch(STATEMENTS["insert_events"].sql, slot)
    return {(row[0], row[1]) for row in rows}


async def lock_events(connection: Connection, identities: Sequence[Identity]) -> None:
    """Lock those of `identities` that are stored until the transaction ends."""
    await connection.execute(STATEMENTS["lock_events"].sql, *_columns(identities))


async def list_stored_events(
    connection: Connection, identities: Sequence[Identity]
) -> Mapping[Identity, StoredEvent]:
    """Return those of `identities` that are stored."""
    rows = await connection.fetch(STATEMENTS["list_stored_events"].sql, *_columns(identities))
    return {
        (row["user_id"], row["event_id"]): StoredEvent(
            identity=(row["user_id"], row["event_id"]),
            content=event_content(
                event_type=row["event_type"],
                stamped_fields=row["stamped_fields"],
                campaign_id=row["campaign_id"],
                event_micros=row["event_micros"],
                revenue_micros=row["revenue_micros"],
                cost_micros=row["cost_micros"],
                offer_amount_micros=row["offer_amount_micros"],
                merchant_id=row["merchant_id"],
                channel=row["channel"],
                is_machine_open=row["is_machine_open"],
                original_event_id=row["original_event_id"],
                custom_event_name=row["custom_event_name"],
                propensity=row["propensity"],
                policy_version=row["policy_version"],
            ),
            event_type=row["event_type"],
            campaign_id=row["campaign_id"],
            merchant_id=row["merchant_id"],
            counted_micros=row["counted_micros"],
            revenue_micros=row["revenue_micros"] or 0,
            offer_amount_micros=row["offer_amount_micros"],
            channel=row["channel"],
            currency_code=row["currency_code"],
        )
        for row in rows
    }


async def list_refunds_of_originals(
    connection: Connection, originals: Sequence[Identity]
) -> Sequence[StoredRefund]:
    """Return all stored refunds of the events named."""
    rows = await connection.fetch(STATEMENTS["list_refunds_of_originals"].sql, *_columns(originals))
    return [
        StoredRefund(
            original=(row["user_id"], row["original_event_id"]),
            event_id=row["event_id"],
            revenue_micros=row["revenue_micros"],
        )
        for row in rows
    ]


def _columns(identities: Sequence[Identity]) -> tuple[list[str], list[str]]:
    return [user_id for user_id, _ in identities], [event_id for _, event_id in identities]
