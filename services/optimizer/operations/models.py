"""The registry: versions, going back to an earlier one, and removing the files of old ones."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.common.database import Connection, Database
from services.common.errors import AbortedError, FailedPreconditionError, NotFoundError
from services.common.waiting_room import WaitingRoom
from services.optimizer.domain.models.changes import ChangeKind, Going, ModelChange
from services.optimizer.domain.models.drift import Drift
from services.optimizer.domain.models.registry import ModelDetails, ModelSummary, choose_removable
from services.optimizer.domain.models.trainings import Note, TrainingCause
from services.optimizer.domain.models.version import CONVERSION_MODEL, ModelStatus
from services.optimizer.model_repository import ModelRepository
from services.optimizer.operations.publication import Publication
from services.optimizer.store import models as store
from services.optimizer.store.audiences import delete_audiences
from services.optimizer.store.model_changes import list_model_changes
from services.optimizer.store.training import lock_publication, try_lock_training

_NEWEST: Final = 2**31 - 1
_MOST_PRUNED: Final = 1000
_MOST_WAITING: Final = 8
_TRAIN_ANEW: Final = "train anew (TrainModel, POST /api/optimize/train-model)"


@dataclass(frozen=True, kw_only=True)
class RollbackOrder:
    """A version to put live (None: the last that nobody went back from), and who asks.

    `expected_live` is the version that must be live for anything to change, None for any.
    """

    version: int | None
    expected_live: int | None
    note: Note


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """What RollbackModel did: `previous` is the version that was live before, None where none was."""

    live: ModelDetails
    previous: int | None


class ModelOperations:
    """The use cases of the registry over one database and one model repository."""

    def __init__(
        self,
        database: Database,
        *,
        publication: Publication,
        repository: ModelRepository,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._publication = publication
        self._repository = repository
        self._now = now
        self._room = WaitingRoom("rollbacks", at_once=1, waiting=_MOST_WAITING)

    async def list_models(
        self, statuses: Sequence[ModelStatus], limit: int, before: int = _NEWEST
    ) -> list[ModelSummary]:
        """Return at most `limit` versions before one, newest first."""
        async with self._database.transaction(readonly=True) as connection:
            return await store.list_models(connection, before=before, statuses=statuses, limit=limit)

    async def fetch_model(self, version: int) -> ModelDetails:
        """Return a version; raise NotFoundError (MODEL_UNKNOWN) where there is none."""
        async with self._database.transaction(readonly=True) as connection:
            return await _require_details(connection, version)

    async def list_changes(self, limit: int, before: int) -> list[ModelChange]:
        """Return at most `limit` exchanges of the live version with a number below `before`, latest first."""
        async with self._database.transaction(readonly=True) as connection:
            return await list_model_changes(connection, before=before, limit=limit)

    async def fetch_drift(self) -> Drift:
        """Return what was measured last of the live version.

        Raises:
            FailedPreconditionError: MODEL_NOT_TRAINED.
            NotFoundError: DRIFT_UNKNOWN; it was not measured yet.
        """
        async with self._database.transaction(readonly=True) as connection:
            live = await store.fetch_live_version(connection)
            drift = None if live is None else await store.fetch_model_drift(connection, live)
        if live is None:
            raise FailedPreconditionError(
                "no model is live; train one first (TrainModel, POST /api/optimize/train-model)",
                reason="MODEL_NOT_TRAINED",
            )
        if drift is None:
            raise NotFoundError(
                f"the drift of version {live} was not measured yet; the job check_drift does it daily, or now"
                " by POST /api/optimize/jobs/check_drift/run",
                reason="DRIFT_UNKNOWN",
                metadata={"version": str(live)},
            )
        return drift

    async def roll_back(self, order: RollbackOrder) -> Rollback:
        """Put a version live that was live before.

        Each going back without a version goes one further back, and none returns to what was left.

        Raises:
            AbortedError: STATE_CHANGED; the version expected to be live is not.
            NotFoundError: MODEL_UNKNOWN.
            FailedPreconditionError: MODEL_NOT_RESTORABLE, or the model server refuses the version.
            ResourceExhaustedError: too many rollbacks wait.
            UnavailableError: the database or the model server does not answer.
        """
        # One at a time: a model server that hangs is to hold one connection, and not all that requests have.
        async with self._room.turn(), self._database.transaction() as connection:
            await lock_publication(connection)
            live = await store.fetch_live_version(connection)
            if order.version is None or order.version != live:
                _require_live(order.expected_live, live)
            target = order.version if order.version is not None else await _require_earlier(connection, live)
            details = await _require_details(connection, target)
            if target != live:
                await asyncio.to_thread(_require_restorable, details.summary, self._repository)
                await self._publication.require_server()
                going = _going(live, target, order.note)
                await self._publication.put_live(
                    connection,
                    target,
                    before=ModelStatus.RETIRED,
                    going=going,
                    retired_reason=going.reason,
                )
                details = await _require_details(connection, target)
        return Rollback(live=details, previous=live)

    async def prune(self, retention: timedelta) -> str:
        """Remove the folders of versions that were rejected or retired long ago; return what was done.

        So are folders of no version, which interrupted trainings left. Nothing is removed while a training
        runs, which may be about to publish.
        """
        now = self._now()
        async with self._database.transaction() as connection:
            if not await try_lock_training(connection):
                return "nothing removed: a training runs"
            await lock_publication(connection)
            models = await store.list_models(connection, before=_NEWEST, statuses=(), limit=_MOST_PRUNED)
            removable = choose_removable(models, now=now, retention=retention)
            known = await store.list_known_versions(connection)
            strays = await asyncio.to_thread(self._repository.list_strays, known, now - retention)
            if not removable and not strays:
                return "nothing to remove"
            served = await _list_served(connection)
            await asyncio.to_thread(self._remove, [*removable, *strays], served)
            await delete_audiences(connection, removable)
            await store.note_removed_files(connection, removable, now)
        removed = f"the files of {len(removable)} versions of {CONVERSION_MODEL} removed"
        return f"{removed}, and {len(strays)} folders of none" if strays else removed

    def _remove(self, versions: Sequence[int], served: Sequence[int]) -> None:
        """Remove folders, after config.pbtxt names none of them; where none is live, nobody asks for any."""
        if served:
            self._repository.write_config(served)
        for version in versions:
            self._repository.remove_version(version)


async def _list_served(connection: Connection) -> list[int]:
    """Return the live version and the one before it; none where none is live."""
    live = await store.fetch_live_version(connection)
    if live is None:
        return []
    before = await store.fetch_last_retired_version(connection, live)
    return [live] if before is None else [live, before]


async def _require_earlier(connection: Connection, live: int | None) -> int:
    version = await store.fetch_restorable_version(connection)
    if version is None:
        raise FailedPreconditionError(
            "no version was ever live; train one first (TrainModel, POST /api/optimize/train-model)"
            if live is None
            else "no version that has its files was live before the one that is, but for those that were gone"
            " back from; name one of these to return to it",
            reason="MODEL_NOT_RESTORABLE",
        )
    return version


def _require_live(expected: int | None, live: int | None) -> None:
    if expected is None or expected == live:
        return
    raise AbortedError(
        f"version {expected} is not live, {'none' if live is None else f'version {live}'} is;"
        " nothing was changed",
        reason="STATE_CHANGED",
        metadata={"expected_live_version": str(expected)}
        | ({} if live is None else {"live_version": str(live)}),
    )


def _going(live: int | None, target: int, note: Note) -> Going:
    kind = ChangeKind.ROLLBACK if live is None or target < live else ChangeKind.RETURN
    moved = "rolled back to" if kind is ChangeKind.ROLLBACK else "returned to later"
    return Going(kind=kind, cause=TrainingCause.REQUEST, note=note, reason=f"{moved} version {target}{note}")


async def _require_details(connection: Connection, version: int) -> ModelDetails:
    details = await store.fetch_model_details(connection, version)
    if details is None:
        raise NotFoundError(
            f"no version {version}; ListModels has those there are",
            reason="MODEL_UNKNOWN",
            metadata={"version": str(version)},
        )
    return details


def _require_restorable(model: ModelSummary, repository: ModelRepository) -> None:
    metadata = {"version": str(model.version), "status": model.status.value}
    if model.status is not ModelStatus.RETIRED:
        raise FailedPreconditionError(
            f"version {model.version} is {model.status.value} and was never live: {model.status_reason}",
            reason="MODEL_NOT_RESTORABLE",
            metadata=metadata,
        )
    if model.files_removed_at is not None:
        raise FailedPreconditionError(
            f"version {model.version} was removed {model.files_removed_at:%Y-%m-%d}, with what serving needs"
            f" beside its file, and cannot come back; {_TRAIN_ANEW}",
            reason="MODEL_NOT_RESTORABLE",
            metadata=metadata,
        )
    if not repository.has_version(model.version):
        raise FailedPreconditionError(
            f"the file of version {model.version} is gone from the model repository; put it back from a"
            f" backup, or {_TRAIN_ANEW}",
            reason="MODEL_NOT_RESTORABLE",
            metadata=metadata,
        )
