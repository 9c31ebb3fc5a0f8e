import asyncio
import threading
from pathlib import Path

import pytest

from services.model_server.layout import Layout
from services.model_server.loading import LoadedModel, Loader
from services.model_server.repository import Repository
from tests.unit.model_server import models
from tests.unit.model_server.repositories import ask, lines, open_repository

LIMIT_SECONDS = 120


class SlowLoader(Loader):
    """A loader that waits to be let on, so that a test sees the state in between."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout, threads=1)
        self.begun, self.go_on = threading.Event(), threading.Event()

    def load(self, name: str, served: LoadedModel | None, *, stand_in: bool) -> LoadedModel:
        self.begun.set()
        assert self.go_on.wait(LIMIT_SECONDS)
        return super().load(name, served, stand_in=stand_in)


async def test_a_first_load_under_way_shows_as_loading_and_a_later_one_as_what_still_serves(
    tmp_path: Path,
) -> None:
    models.write_version(tmp_path, "m", 1, models.scale_model(1.0))
    loader = SlowLoader(Layout(root=tmp_path))
    repository = Repository(Layout(root=tmp_path), loader)
    work = asyncio.create_task(repository.load("m"))
    assert await asyncio.to_thread(loader.begun.wait, LIMIT_SECONDS)
    assert await lines(repository) == [("m", "", "LOADING")]
    loader.go_on.set()
    await work
    loader.go_on.clear()
    loader.begun.clear()
    work = asyncio.create_task(repository.load("m"))
    assert await asyncio.to_thread(loader.begun.wait, LIMIT_SECONDS)
    assert await lines(repository) == [("m", "1", "READY")]
    loader.go_on.set()
    await work
    repository.close()


async def test_a_caller_that_goes_away_does_not_stop_its_load(tmp_path: Path) -> None:
    models.write_version(tmp_path, "m", 1, models.scale_model(1.0))
    loader = SlowLoader(Layout(root=tmp_path))
    repository = Repository(Layout(root=tmp_path), loader)
    work = asyncio.create_task(repository.load("m"))
    assert await asyncio.to_thread(loader.begun.wait, LIMIT_SECONDS)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    loader.go_on.set()
    await repository.load("m")
    assert ask(repository, "m") == 1.0


async def test_concurrent_loads_and_unloads_end_in_a_whole_state(tmp_path: Path) -> None:
    models.write_version(tmp_path, "m", 1, models.scale_model(1.0))
    repository = open_repository(tmp_path)
    steps = [repository.load("m") if index % 3 else repository.unload("m") for index in range(30)]
    await asyncio.gather(*steps)
    await repository.load("m")
    assert await lines(repository) == [("m", "1", "READY")]
    assert ask(repository, "m") == 1.0
