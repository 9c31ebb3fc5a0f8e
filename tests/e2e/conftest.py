"""Gateways for all tests of them: before small services, patient and hasty, and before none."""

from collections.abc import Iterator

import pytest

from tests.e2e.gateway_backends import HASTY_SECONDS, Backends
from tests.e2e.gateway_stand import Gateway, running_gateway


@pytest.fixture(scope="session")
def backends() -> Iterator[Backends]:
    """Four services that all serve."""
    backends = Backends()
    backends.start()
    try:
        yield backends
    finally:
        backends.stop()


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, backends: Backends) -> Iterator[Gateway]:
    """A gateway whose four services all serve, and that gives each call its time."""
    with running_gateway(tmp_path_factory.mktemp("gateway"), backends) as running:
        yield running


@pytest.fixture(scope="session")
def hasty_gateway(tmp_path_factory: pytest.TempPathFactory, backends: Backends) -> Iterator[Gateway]:
    """A gateway that gives a call `HASTY_SECONDS`, for tests of what has longer and of what takes longer."""
    folder = tmp_path_factory.mktemp("hasty_gateway")
    with running_gateway(folder, backends, unary_seconds=HASTY_SECONDS) as running:
        yield running


@pytest.fixture(scope="session")
def lonely_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway behind which nobody listens."""
    with running_gateway(tmp_path_factory.mktemp("lonely_gateway"), None) as running:
        yield running
