"""Repositories opened for tests, and what they serve."""

from pathlib import Path

import numpy as np

from services.model_server.layout import Layout
from services.model_server.loading import Loader
from services.model_server.repository import Repository


def open_repository(root: Path, *, polls: bool = False) -> Repository:
    layout = Layout(root=root)
    return Repository(layout, Loader(layout, threads=1), polls=polls)


def ask(repository: Repository, model: str, version: str = "") -> float:
    """Return what the served version makes of 1: for a scale model, its factor."""
    found = repository.find(model, version)
    (answer,) = found.session.run({"x": np.ones((1, 2), np.float32)}, ["y"])
    return float(answer[0, 0])


async def lines(repository: Repository, *, ready_only: bool = False) -> list[tuple[str, str, str]]:
    return [(line.model, line.version, line.state) for line in await repository.index(ready_only=ready_only)]
