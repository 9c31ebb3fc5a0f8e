"""One gateway with its small services for all tests of it, and one whose services are all down."""

from collections.abc import Iterator

import pytest

from tests.e2e.gateway_backends import Backends
from tests.e2e.gateway_stand import Gateway, running_gateway


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose four services all serve."""
    backends = Backends()
    backends.start()
    try:
        with running_gateway(tmp_path_factory.mktemp("gateway"), backends) as running:
            yield running
    finally:
        backends.stop()


@pytest.fixture(scope="session")
def lonely_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway behind which nobody listens."""
    with running_gateway(tmp_path_factory.mktemp("lonely_gateway"), None) as running:
        yield running
