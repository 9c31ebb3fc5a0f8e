"""The models being served, and how they change: all at start, by request, or by looking for changes.

A change is prepared beside what is served and takes over in one assignment on the event loop: a request holds
the version it found until it has its answer, so none fails for a swap. What does not load changes nothing.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from services.common.errors import (
    DomainError,
    FailedPreconditionError,
    NotFoundError,
    UnavailableError,
)
from services.common.telemetry import get_logger
from services.model_server.layout import Layout, Signature
from services.model_server.loading import LoadedModel, LoadedVersion, Loader
from services.model_server.statistics import LOADS, remove_series
from services.model_server.tensors import shown

Result = TypeVar("Result")
State: TypeAlias = Literal["READY", "UNAVAILABLE", "LOADING"]

_log = get_logger("repository")


@dataclass(frozen=True, kw_only=True)
class IndexEntry:
    """One line of the repository's index; `version` is empty where the line is about the model as a whole."""

    model: str
    version: str
    state: State
    reason: str = ""


@dataclass(kw_only=True)
class _Slot:
    """What is known of one model. `refusal` is why its last load changed nothing, empty if it did."""

    served: LoadedModel | None = None
    loading: bool = False
    refusal: str = ""
    looked_at: Signature | None = None


class Repository:
    """The models of one folder; used from one event loop.

    Args:
        layout: the folder.
        loader: what loads a model of it.
        polls: whether changes are looked for (by whoever calls `poll`); unloading is then refused, because
            the next look would load the model again.
    """

    def __init__(self, layout: Layout, loader: Loader, *, polls: bool = False) -> None:
        self._layout = layout
        self._loader = loader
        self._polls = polls
        self._slots: dict[str, _Slot] = {}
        self._changing = asyncio.Lock()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="loading")
        self._loads: set[asyncio.Task[None]] = set()

    def find(self, model: str, version: str = "") -> LoadedVersion:
        """Return the served version named, or the newest one served.

        Raises:
            NotFoundError: no such model or version.
            UnavailableError: it is there, and is not served (not loaded yet, unloaded or refused).
        """
        slot = self._slots.get(model)
        if slot is None:
            raise _unknown_model(model)
        if slot.served is None:
            raise UnavailableError(f"model {shown(model)} is not loaded", reason="MODEL_NOT_READY")
        versions = slot.served.versions
        if not version:
            return next(iter(versions.values()))
        if version in versions:
            return versions[version]
        if version in slot.served.refusals:
            raise UnavailableError(
                f"version {version} of model {shown(model)} could not be loaded", reason="VERSION_NOT_READY"
            )
        raise NotFoundError(
            f"model {shown(model)} serves no version {shown(version)}; it serves {', '.join(versions)}",
            reason="VERSION_UNKNOWN",
        )

    def is_ready(self, model: str, version: str = "") -> bool:
        """Tell whether a request for this model and version would be answered."""
        try:
            self.find(model, version)
        except DomainError:
            return False
        return True

    def served_model(self, model: str) -> LoadedModel:
        """Return the model as it is served; raises as `find` does."""
        self.find(model)
        served = self._slots[model].served
        assert served is not None
        return served

    def served_versions(self, model: str = "", version: str = "") -> list[LoadedVersion]:
        """Return the versions served (of one model, or the one named), by model, the newest first.

        Raises as `find` does where a model is named.
        """
        if version:
            return [self.find(model, version)]
        if model:
            return list(self.served_model(model).versions.values())
        return [
            version
            for _, slot in sorted(self._slots.items())
            if slot.served is not None
            for version in slot.served.versions.values()
        ]

    async def load_all(self) -> None:
        """Load every model of the folder; one that does not load stays unavailable, with the reason."""
        if not await self._read(self._layout.exists):
            _log.warning("no repository folder yet; no model is served", folder=str(self._layout.root))
        for name in await self._read(self._layout.list_models):
            await self._try_load(name)

    async def load(self, name: str) -> None:
        """Load a model, or bring it to what its folder now wants; on return it serves.

        A caller that goes away does not stop the load.

        Raises:
            NotFoundError: the folder has no such model.
            FailedPreconditionError: it does not load; what served before still serves.
        """
        if name not in await self._read(self._layout.list_models):
            raise _unknown_model(name)
        work = asyncio.create_task(self._load(name, stand_in=False))
        self._loads.add(work)
        work.add_done_callback(self._loads.discard)
        await asyncio.shield(work)

    async def unload(self, name: str) -> None:
        """Stop serving a model; requests under way still get their answers.

        Raises:
            NotFoundError: no such model.
            FailedPreconditionError: the server looks for changes, and would load it again.
        """
        if self._polls:
            raise FailedPreconditionError(
                "the server polls its repository; take the model's folder away instead",
                reason="UNLOAD_WHILE_POLLING",
            )
        if name not in self._slots and name not in await self._read(self._layout.list_models):
            raise _unknown_model(name)
        async with self._changing:
            slot = self._slots.setdefault(name, _Slot())
            self._serve(name, slot, None)
            slot.refusal = ""

    async def poll(self) -> None:
        """Look once for models that are new, changed or gone.

        A refused model is tried again only once its files have changed. Where the whole folder is gone (a
        lost mount), nothing is unloaded.
        """
        if not await self._read(self._layout.exists):
            return
        present = await self._read(self._layout.list_models)
        for name in present:
            if await self._has_changed(name):
                await self._try_load(name)
        for name in [name for name in self._slots if name not in present]:
            async with self._changing:
                self._serve(name, self._slots.pop(name), None)
            _log.info("gone", model=name)

    async def index(self, *, ready_only: bool) -> list[IndexEntry]:
        """Return every model of the folder and every one served, sorted by name, the newest version first."""
        present = await self._read(self._layout.list_models)
        names = {*present, *(name for name, slot in self._slots.items() if slot.served is not None)}
        entries = [entry for name in sorted(names) for entry in self._entries(name)]
        return [entry for entry in entries if entry.state == "READY" or not ready_only]

    def close(self) -> None:
        """End the loading thread, after the load under way."""
        self._executor.shutdown(cancel_futures=True)

    def _entries(self, name: str) -> list[IndexEntry]:
        slot = self._slots.get(name, _Slot())
        entries = []
        if slot.served is not None:
            entries += [
                IndexEntry(model=name, version=version, state="READY") for version in slot.served.versions
            ]
            entries += [
                IndexEntry(model=name, version=version, state="UNAVAILABLE", reason=reason)
                for version, reason in slot.served.refusals.items()
            ]
        if slot.loading and slot.served is None:
            entries.append(IndexEntry(model=name, version="", state="LOADING"))
        elif slot.refusal or slot.served is None:
            reason = slot.refusal or "not loaded"
            entries.append(IndexEntry(model=name, version="", state="UNAVAILABLE", reason=reason))
        return entries

    async def _has_changed(self, name: str) -> bool:
        try:
            signature = await self._read(lambda: self._layout.sign_model(name))
        except UnavailableError:  # being written or removed at this moment; the next look sees it
            return False
        slot = self._slots.setdefault(name, _Slot())
        changed = signature != slot.looked_at
        slot.looked_at = signature
        return changed

    async def _try_load(self, name: str) -> None:
        try:
            await self._load(name, stand_in=self._slots.get(name, _Slot()).served is None)
        except FailedPreconditionError as error:
            _log.error("not loaded", model=name, reason=error.reason, error=error.message)

    async def _load(self, name: str, *, stand_in: bool) -> None:
        async with self._changing:
            slot = self._slots.setdefault(name, _Slot())
            slot.loading = True
            try:
                loaded = await asyncio.get_running_loop().run_in_executor(
                    self._executor, lambda: self._loader.load(name, slot.served, stand_in=stand_in)
                )
            except FailedPreconditionError as error:
                slot.refusal = error.message
                LOADS.labels(name, "refused").inc()
                raise
            finally:
                slot.loading = False
            slot.refusal = ""
            LOADS.labels(name, "loaded").inc()
            self._serve(name, slot, loaded)

    def _serve(self, name: str, slot: _Slot, loaded: LoadedModel | None) -> None:
        before = slot.served.versions.keys() if slot.served is not None else set()
        after = loaded.versions.keys() if loaded is not None else set()
        slot.served = loaded
        for gone in before - after:
            remove_series(name, gone)
        for version in loaded.versions.values() if loaded is not None else ():
            version.statistics.show(name, version.version)
        if before != after:
            _log.info("serving versions", model=name, before=sorted(before), now=sorted(after))

    async def _read(self, work: Callable[[], Result]) -> Result:
        """Do blocking work on the folder off the event loop."""
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            _log.error("repository folder not readable", error=str(error))
            raise UnavailableError(
                "the repository folder cannot be read", reason="REPOSITORY_UNREADABLE"
            ) from error


def _unknown_model(name: str) -> NotFoundError:
    return NotFoundError(f"model {shown(name)} is not in the repository", reason="MODEL_UNKNOWN")
