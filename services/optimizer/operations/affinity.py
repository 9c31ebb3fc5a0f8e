"""Which merchants are near to a user: kept by the job, or from the user's events just now."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from services.common.database import Connection, Database
from services.common.errors import FailedPreconditionError, NotFoundError
from services.optimizer.domain.affinity.answer import (
    Affinity,
    AffinitySource,
    MerchantAffinity,
    UserScores,
    answer_by_population,
    answer_users,
    gather_for,
    score_by_population,
    score_range,
    score_user,
)
from services.optimizer.domain.affinity.contacts import WINDOW_DAYS, Contacts
from services.optimizer.domain.affinity.model import AffinityModel
from services.optimizer.domain.receipt import LATE_RECEIPT
from services.optimizer.operations.days import fetch_reporting_zone
from services.optimizer.store import affinity as store
from services.optimizer.store import affinity_models

FRESH_FOR: Final = timedelta(hours=36)
"""Kept scores that are older are made anew: habits fade, even where nothing comes in."""


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A user's contacts, or what was kept; `as_of` is tomorrow, so that today counts."""

    model: AffinityModel
    kept: store.KeptAffinity | None
    contacts: Contacts | None
    as_of: int


class AffinityOperations:
    """The use cases of affinity over one database; a version of the model is read once."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._model: AffinityModel | None = None
        self._loading = asyncio.Lock()

    async def get_affinity(self, user_id: str, limit: int) -> Affinity:
        """Return a user's best merchants: kept where that is as good as new, live otherwise.

        Raises:
            NotFoundError: USER_UNKNOWN.
            FailedPreconditionError: AFFINITY_NOT_FITTED.
        """
        async with self._reading() as connection:
            known = await self._load(connection, user_id, kept_limit=limit)
        return self._answer(user_id, known, limit=limit)

    async def scores_of(self, user_id: str, merchant_ids: Sequence[int]) -> UserScores:
        """Return a user's scores of certain merchants, those that the model knows; always live.

        Raises:
            NotFoundError: USER_UNKNOWN.
            FailedPreconditionError: AFFINITY_NOT_FITTED.
        """
        async with self._reading() as connection:
            known = await self._load(connection, user_id, kept_limit=None)
        model, contacts = known.model, known.contacts
        if contacts is None or not len(contacts):
            return score_by_population(model, merchant_ids)
        evidence = gather_for(model, contacts, known.as_of, 1)
        # Thousands of merchants take long enough to hold others up.
        return await asyncio.to_thread(score_user, model, evidence, merchant_ids)

    def _reading(self) -> AbstractAsyncContextManager[Connection]:
        """Open a transaction with one view of everything: a fit may be replaced while its parts are read."""
        return self._database.transaction(isolation="repeatable_read", readonly=True)

    async def is_anything_new(self) -> bool:
        """Return whether events came in that the kept merchants do not hold, or a scoring was cut off.

        Not while somebody fits or scores, who may take longer than waiting for them is allowed to.
        """
        async with self._database.transaction(readonly=True) as connection:
            live = await affinity_models.fetch_live(connection)
            if live is None or not await affinity_models.is_free(connection):
                return False
            if live.is_scoring or live.refreshed_until is None:
                return True
            return await store.has_changed_users(connection, live.refreshed_until - LATE_RECEIPT)

    def _answer(self, user_id: str, known: _Known, *, limit: int) -> Affinity:
        model, now = known.model, self._now()
        if known.kept is not None:
            source, computed_at = AffinitySource.KEPT, known.kept.computed_at
            merchants = tuple(_with_range(model, merchant) for merchant in known.kept.merchants)
        elif known.contacts is not None and len(known.contacts):
            evidence = gather_for(model, known.contacts, known.as_of, 1)
            source, computed_at = AffinitySource.LIVE, now
            merchants = answer_users(model, evidence, limit=limit)[0]
        else:
            source, computed_at = AffinitySource.POPULATION, now
            merchants = answer_by_population(model, limit=limit)
        return Affinity(
            user_id=user_id,
            source=source,
            computed_at=computed_at,
            model_version=model.version,
            merchants=merchants,
        )

    async def _load(self, connection: Connection, user_id: str, *, kept_limit: int | None) -> _Known:
        now = self._now()
        model = await self._require_model(connection)
        standing = await store.fetch_user_standing(connection, user_id)
        if not standing.is_known:
            raise NotFoundError(
                f"no user {user_id!r}: neither in the catalog nor in any event",
                reason="USER_UNKNOWN",
                metadata={"user_id": user_id},
            )
        zone = await fetch_reporting_zone(connection)
        as_of = now.astimezone(zone).date().toordinal() + 1
        kept = None
        if kept_limit is not None:
            kept = await store.fetch_kept_affinity(connection, user_id, model.version, kept_limit)
        if kept is not None and _is_fresh(kept, standing, now, kept_limit or 0):
            return _Known(model=model, kept=kept, contacts=None, as_of=as_of)
        contacts = await store.list_contacts(
            connection, [user_id], model.positions, now - timedelta(days=WINDOW_DAYS), zone.key
        )
        return _Known(model=model, kept=None, contacts=contacts, as_of=as_of)

    async def _require_model(self, connection: Connection) -> AffinityModel:
        live = await affinity_models.fetch_live(connection)
        if live is None:
            raise FailedPreconditionError(
                "nothing was learned of users' merchants yet; run the job affinity_model"
                " (POST /api/optimize/jobs/affinity_model/run) and see what it says",
                reason="AFFINITY_NOT_FITTED",
            )
        async with self._loading:
            if self._model is None or self._model.version != live.version:
                self._model = await affinity_models.fetch_model(connection, live.version)
            return self._model


def _is_fresh(kept: store.KeptAffinity, standing: store.UserStanding, now: datetime, limit: int) -> bool:
    """Return whether kept merchants are as good as new: they miss no contact, are not old, and enough."""
    if len(kept.merchants) < limit or now - kept.computed_at > FRESH_FOR:
        return False
    newest, held = standing.newest_contact_at, kept.received_until
    return newest is None or (held is not None and newest < held)


def _with_range(model: AffinityModel, merchant: MerchantAffinity) -> MerchantAffinity:
    return replace(merchant, score_range=score_range(model, merchant.score))
