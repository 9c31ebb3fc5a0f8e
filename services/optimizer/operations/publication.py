"""Which version is live: the model server serves it first, and only then it is called so."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime

from services.common.database import Connection
from services.common.errors import AbortedError, DomainError, FailedPreconditionError
from services.common.threads import in_thread
from services.optimizer.domain.models.changes import ChangeKind, Going
from services.optimizer.domain.models.version import CONVERSION_MODEL, ModelStatus
from services.optimizer.model_client import ModelClient
from services.optimizer.model_repository import ModelRepository
from services.optimizer.store import models as store
from services.optimizer.store.model_changes import insert_model_change
from services.optimizer.store.training import lock_publication


class Publication:
    """Puts versions live over one model server and one model repository."""

    def __init__(
        self, models: ModelClient, repository: ModelRepository, *, now: Callable[[], datetime]
    ) -> None:
        self._models = models
        self._repository = repository
        self._now = now

    async def require_server(self) -> None:
        """Raise UnavailableError or DeadlineExceededError where the model server does not answer at once."""
        await self._models.require_server()

    async def put_live(
        self,
        connection: Connection,
        version: int,
        *,
        before: ModelStatus,
        going: Going,
        retired_reason: str,
    ) -> None:
        """Have the model server serve `version` beside the one that is live, then exchange them.

        The one that was live before that is served too: a request that began under it may not have asked yet.
        One whose file broke is left out.
        The exchange becomes visible when the caller's transaction commits, and its record (`model_changes`)
        with it. Where the server does not take the version, it is told again to serve what it served before.
        After a rollback the version that was live is not gone back to by itself.

        Raises:
            AbortedError: the version is not in status `before` any more (CONCURRENT_UPDATE).
            DomainError: the model server does not answer, or refuses the version.
            InternalError: the model repository cannot be read or written.
        """
        await lock_publication(connection)
        live = await store.fetch_live_version(connection)
        retired = await store.fetch_last_retired_version(connection, version)
        async with self._restoring(live):
            await self._load_beside(version, [each for each in (live, retired) if each is not None])
            now = self._now()
            is_rolled_back = going.kind is ChangeKind.ROLLBACK
            await store.retire_live_model(connection, retired_reason, now, is_rolled_back=is_rolled_back)
            if not await store.put_model_live(connection, version, before, going.reason, now):
                raise AbortedError(
                    f"version {version} is not {before.value} any more", reason="CONCURRENT_UPDATE"
                )
            await insert_model_change(connection, going, previous=live, version=version, now=now)

    async def serve_live(self, connection: Connection) -> bool:
        """Say anew in the repository what is to be served, and have the server serve the live version.

        Returns whether it is served: not where none is live, or its file is gone.

        Raises:
            DomainError: the model server does not answer, or refuses the version.
            InternalError: the model repository cannot be written.
        """
        await lock_publication(connection)
        live = await store.fetch_live_version(connection)
        if live is None or not await in_thread(self._repository.has_version, live):
            return False
        before = await store.fetch_last_retired_version(connection, live)
        await self._load_beside(live, [] if before is None else [before])
        return True

    async def _load_beside(self, version: int, others: Sequence[int]) -> None:
        """Have the model server serve a version beside the first of others, as many of them as it takes.

        One whose file broke must not keep another one from being put in its place.
        """
        for count in range(len(others), -1, -1):
            await in_thread(self._repository.write_config, [version, *others[:count]])
            try:
                await self._models.load(CONVERSION_MODEL, version)
            except FailedPreconditionError:
                if count == 0:
                    raise
            else:
                return

    @asynccontextmanager
    async def _restoring(self, live: int | None) -> AsyncIterator[None]:
        """After a failure have the server serve what it did: one that was slow may have taken the version.

        Without a version that is live nothing is asked of the server: no answer names the one it may serve.
        """
        before = await in_thread(self._repository.read_config)
        try:
            yield
        except BaseException:
            with suppress(DomainError):  # then the caller hears of it already
                await in_thread(self._repository.restore_config, before)
                if live is not None:
                    await self._models.load(CONVERSION_MODEL, live)
            raise
