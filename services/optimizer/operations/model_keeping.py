"""Keeps the live version served: what the model server dropped, or refuses to load, is loaded again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.common.database import Database
from services.common.errors import DomainError, FailedPreconditionError
from services.common.telemetry import get_logger
from services.optimizer.domain.models.version import CONVERSION_MODEL
from services.optimizer.model_client import ModelClient
from services.optimizer.operations.publication import Publication
from services.optimizer.store.models import fetch_live_version

_log = get_logger("optimizer")


class ModelKeeper:
    """Looks every few seconds whether the model server serves the live version.

    Each replica looks for itself, also one without jobs: loading what is served already changes nothing.
    Where the server refuses to load it as the repository stands (a config.pbtxt or another version that
    broke), what the repository says is written anew, once until the version is served again.
    """

    def __init__(
        self, database: Database, models: ModelClient, publication: Publication, *, seconds: float
    ) -> None:
        self._database = database
        self._models = models
        self._publication = publication
        self._seconds = seconds
        self._refused: int | None = None

    async def look(self) -> int | None:
        """Have the live version served; return it where it was not, else None.

        Raises:
            DomainError: the database or the model server does not answer, or refuses the version.
        """
        async with self._database.transaction(readonly=True) as connection:
            live = await fetch_live_version(connection)
        if live is None or await self._models.is_served(CONVERSION_MODEL, live):
            self._refused = None
            return None
        try:
            await self._models.load(CONVERSION_MODEL, live)
        except FailedPreconditionError:
            if self._refused == live:
                raise
            self._refused = live
            async with self._database.transaction() as connection:
                if not await self._publication.serve_live(connection):
                    raise
        return live

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look until the end of the block."""
        looking = asyncio.create_task(self._keep_looking())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _keep_looking(self) -> None:
        told = ""
        while True:
            await asyncio.sleep(self._seconds)
            try:
                loaded = await self.look()
                told = ""
                if loaded is not None:
                    _log.warning(
                        "the model server had dropped the live version; loaded again", version=loaded
                    )
            except DomainError as error:
                if error.message != told:
                    _log.warning(
                        "the live version may not be served", reason=error.reason, error=error.message
                    )
                told = error.message
            except Exception as error:  # noqa: BLE001 (nobody else would look)
                _log.error("cannot look after the live version, by a defect", exc_info=error)
