"""Use cases of the catalog: keep and list campaigns, merchants and users."""

from collections.abc import Sequence
from typing import TypeVar

from services.analytics.domain.catalog import Campaign, Merchant, User, resolve_currency
from services.analytics.operations.changes import Changes
from services.analytics.operations.retries import Retries
from services.analytics.store import catalog as store
from services.common.database import Connection, Database
from services.common.errors import AbortedError, FailedPreconditionError, FieldViolation

Entry = TypeVar("Entry")


class CatalogOperations:
    """Keeps and lists the catalog; an upsert takes all of its entries or none.

    Args:
        database: where the catalog lives.
        retries: runs an upsert again after a collision.
        changes: is told which campaigns changed.
    """

    def __init__(self, database: Database, retries: Retries, changes: Changes) -> None:
        self._database = database
        self._retries = retries
        self._changes = changes

    async def upsert_campaigns(self, campaigns: Sequence[Campaign]) -> None:
        """Keep campaigns.

        Raises:
            FailedPreconditionError: an unknown merchant (MERCHANT_UNKNOWN), or another currency than that of
                a campaign's events (CURRENCY_CONFLICT).
        """

        async def write() -> None:
            async with self._database.transaction() as connection:
                await store.lock_catalog(connection)
                await _check_campaigns(connection, campaigns)
                await store.upsert_campaigns(connection, campaigns)

        await self._retries.run(write)
        self._changes.mark_campaigns(campaign.campaign_id for campaign in campaigns)

    async def upsert_merchants(self, merchants: Sequence[Merchant]) -> None:
        """Keep merchants."""

        async def write() -> None:
            async with self._database.transaction() as connection:
                await store.lock_catalog(connection)
                await store.upsert_merchants(connection, merchants)

        await self._retries.run(write)

    async def upsert_users(self, users: Sequence[User]) -> None:
        """Keep users with their segments."""

        async def write() -> None:
            async with self._database.transaction() as connection:
                numbers = await _number_segment_sets(connection, users)
                await store.upsert_users(connection, users, [numbers.get(u.segments) for u in users])

        await self._retries.run(write)

    async def list_campaigns(self, *, after: str, size: int) -> tuple[Sequence[Campaign], bool]:
        """Return a page of campaigns after a campaign_id, and whether there are more."""
        async with self._database.transaction(readonly=True) as connection:
            return _page(await store.list_campaigns(connection, after=after, limit=size + 1), size)

    async def list_merchants(self, *, after: int, size: int) -> tuple[Sequence[Merchant], bool]:
        """Return a page of merchants after a merchant_id, and whether there are more."""
        async with self._database.transaction(readonly=True) as connection:
            return _page(await store.list_merchants(connection, after=after, limit=size + 1), size)

    async def list_users(self, *, after: str, size: int) -> tuple[Sequence[User], bool]:
        """Return a page of users after a user_id, and whether there are more."""
        async with self._database.transaction(readonly=True) as connection:
            return _page(await store.list_users(connection, after=after, limit=size + 1), size)


def _page(entries: Sequence[Entry], size: int) -> tuple[Sequence[Entry], bool]:
    return entries[:size], len(entries) > size


async def _check_campaigns(connection: Connection, campaigns: Sequence[Campaign]) -> None:
    wanted = {c.merchant_id for c in campaigns if c.merchant_id is not None}
    merchants = await store.list_known_merchants(connection, sorted(wanted))
    fixed = await store.list_fixed_currencies(connection, [c.campaign_id for c in campaigns])
    unknown, conflicts = [], []
    for index, campaign in enumerate(campaigns):
        if campaign.merchant_id is not None and campaign.merchant_id not in merchants:
            unknown.append(
                FieldViolation(
                    field=f"campaigns[{index}].merchant_id",
                    description="names no merchant of the catalog",
                    reason="MERCHANT_UNKNOWN",
                )
            )
        merchant_currency = merchants.get(campaign.merchant_id) if campaign.merchant_id is not None else None
        currency = resolve_currency(campaign.currency_code, merchant_currency)
        if fixed.get(campaign.campaign_id, currency) != currency:
            conflicts.append(
                FieldViolation(
                    field=f"campaigns[{index}].currency_code",
                    description=f"must stay {fixed[campaign.campaign_id]}, that of the campaign's events",
                    reason="CURRENCY_CONFLICT",
                )
            )
    if violations := unknown or conflicts:
        raise FailedPreconditionError(
            "; ".join(f"{v.field}: {v.description}" for v in violations[:10]),
            reason=violations[0].reason,
            violations=[*unknown, *conflicts],
        )


async def _number_segment_sets(connection: Connection, users: Sequence[User]) -> dict[tuple[str, ...], int]:
    numbers = {}
    for segments in sorted({user.segments for user in users if user.segments}):
        number = await store.ensure_segment_set(connection, segments)
        if number is None:
            raise AbortedError("the same segments were kept at the same time", reason="CONCURRENT_UPDATE")
        numbers[segments] = number
    return numbers
