"""A real analytics process behind a real Envoy, for tests that load data and ask for numbers."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.bootstrap import DatabaseAddresses
from tests.e2e.local_run import REPOSITORY, untraced_environment
from tests.e2e.real_gateway import RestClient, running_gateway

LOAD_SECONDS = 600.0


class AnalyticsGateway(RestClient):
    """A caller of a gateway that has nothing but analytics behind it."""

    def load(self, module: str, *arguments: str) -> str:
        """Run `python -m <module> load` against this gateway, and return what it printed."""
        loader = subprocess.run(
            [sys.executable, "-m", module, "load", "--target", self.target, *arguments],
            cwd=REPOSITORY,
            env=untraced_environment(),
            capture_output=True,
            text=True,
            timeout=LOAD_SECONDS,
            check=False,
        )
        assert loader.returncode == 0, loader.stdout + loader.stderr
        return loader.stdout


@contextmanager
def analytics_gateway(
    database: DatabaseAddresses, folder: Path, free_port: Callable[[], int], *, time_zone: str
) -> Iterator[AnalyticsGateway]:
    """Serve analytics on `database` through Envoy until the end of the block; `folder` takes their logs."""
    gateway = AnalyticsGateway(free_port(), probe="/api/catalog/campaigns")
    environment = {"ANALYTICS_DATABASE_URL": database.analytics, "REPORTING_TIME_ZONE": time_zone}
    services = {"analytics": free_port()}
    with running_gateway(
        gateway, folder, free_port, services=services, environment=environment, traced=False
    ):
        yield gateway
