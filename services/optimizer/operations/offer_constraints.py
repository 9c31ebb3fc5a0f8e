"""What offers must keep: set and asked for, by campaign or by merchant."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from services.common.database import Connection, Database
from services.common.errors import AbortedError
from services.optimizer.domain.offers.constraints import (
    NO_LIMITS,
    ConstraintSource,
    HeldLimits,
    KeptLimits,
    Scope,
)
from services.optimizer.operations.lookup import require_campaign, require_merchant
from services.optimizer.store.offer_constraints import (
    fetch_offer_constraints,
    lock_offer_constraints,
    upsert_offer_constraints,
)


class OfferConstraintOperations:
    """The use cases of constraints over one database."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def set_constraints(self, wanted: KeptLimits, etag: str = "") -> KeptLimits:
        """Keep limits in place of those set before; with an `etag`, only in place of those it stands for.

        Raises:
            NotFoundError: CAMPAIGN_UNKNOWN, MERCHANT_UNKNOWN.
            AbortedError: STATE_CHANGED; others were set since the etag was read.
        """
        kept = replace(wanted, updated_at=self._now())
        async with self._database.transaction() as connection:
            await _merchant_of(connection, kept.scope)
            await lock_offer_constraints(connection, kept.scope)
            held = await _fetch(connection, kept.scope)
            if etag and etag != held.etag:
                return _require_same(held, wanted)
            await upsert_offer_constraints(connection, kept)
        return kept

    async def get_constraints(self, scope: Scope) -> HeldLimits:
        """Return the limits that hold in a scope.

        Raises:
            NotFoundError: CAMPAIGN_UNKNOWN, MERCHANT_UNKNOWN.
        """
        async with self._database.transaction(readonly=True) as connection:
            merchant = await _merchant_of(connection, scope)
            own = await _fetch(connection, scope)
            of_merchant = await _fetch(connection, merchant) if merchant else None
        return HeldLimits(own=own, of_merchant=of_merchant)


def _require_same(held: KeptLimits, wanted: KeptLimits) -> KeptLimits:
    """Return what is held where it is what is wanted: the same request came before."""
    if held.updated_at is not None and replace(wanted, updated_at=held.updated_at) == held:
        return held
    set_by = f" by {held.actor}" if held.actor else ""
    when = (
        "none are set"
        if held.updated_at is None
        else f"they were set{set_by} at {held.updated_at.isoformat()}"
    )
    raise AbortedError(
        f"other constraints hold by now ({when}); nothing was changed: read them again, and decide again",
        reason="STATE_CHANGED",
        metadata={"etag": held.etag},
    )


async def _merchant_of(connection: Connection, scope: Scope) -> Scope | None:
    """Return the scope of a known campaign's merchant; None for a known merchant, or where there is none."""
    if scope.kind is ConstraintSource.MERCHANT:
        await require_merchant(connection, int(scope.name))
        return None
    campaign = await require_campaign(connection, scope.name)
    return None if campaign.merchant_id is None else Scope.of_merchant(campaign.merchant_id)


async def _fetch(connection: Connection, scope: Scope) -> KeptLimits:
    return await fetch_offer_constraints(connection, scope) or KeptLimits(scope=scope, limits=NO_LIMITS)
