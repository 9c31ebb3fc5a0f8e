"""A real analytics process behind a real Envoy, for tests that load data and ask for numbers."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.envoy.bootstrap import envoy_binary, render_bootstrap
from deploy.local.bootstrap import DatabaseAddresses

REPOSITORY = Path(__file__).resolve().parents[2]
DESCRIPTOR = REPOSITORY / "gen" / "descriptors" / "api.binpb"
START_SECONDS = 60.0
LOAD_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True)
class AnalyticsGateway:
    """The address of a gateway that has nothing but analytics behind it."""

    port: int

    @property
    def target(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def get(self, path: str) -> dict[str, Any]:
        """Return the JSON answer of a GET that must succeed."""
        status, body = self._request(path)
        assert status == http.client.OK, f"{path}: {status} {body!r}"
        answer: dict[str, Any] = json.loads(body)
        return answer

    def load(self, module: str, *arguments: str) -> str:
        """Run `python -m <module> load` against this gateway, and return what it printed."""
        loader = subprocess.run(
            [sys.executable, "-m", module, "load", "--target", self.target, *arguments],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=LOAD_SECONDS,
            check=False,
        )
        assert loader.returncode == 0, loader.stdout + loader.stderr
        return loader.stdout

    def answers(self) -> bool:
        """Return whether the catalog can be asked."""
        try:
            return self._request("/api/catalog/campaigns")[0] == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

    def _request(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@contextmanager
def analytics_gateway(
    database: DatabaseAddresses, folder: Path, free_port: Callable[[], int], *, time_zone: str
) -> Iterator[AnalyticsGateway]:
    """Serve analytics on `database` through Envoy until the end of the block; `folder` takes their logs."""
    gateway = AnalyticsGateway(port=free_port())
    analytics_port = free_port()
    configuration = folder / "envoy.yaml"
    configuration.write_text(
        render_bootstrap(
            gateway_port=gateway.port,
            admin_port=free_port(),
            analytics_port=analytics_port,
            abtest_port=free_port(),
            optimizer_port=free_port(),
            model_server_port=free_port(),
            descriptor_path=DESCRIPTOR,
        )
    )
    environment = {
        **os.environ,
        "ANALYTICS_DATABASE_URL": database.analytics,
        "ANALYTICS_PORT": str(analytics_port),
        "ANALYTICS_METRICS_PORT": str(free_port()),
        "ANALYTICS_DRAIN_SECONDS": "0",
        "REPORTING_TIME_ZONE": time_zone,
    }
    commands = {
        "analytics": [sys.executable, "-m", "services.analytics"],
        "envoy": [str(envoy_binary()), "--config-path", str(configuration), "--disable-hot-restart"],
    }
    logs = {name: folder / f"{name}.log" for name in commands}
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for name, command in commands.items():
            with logs[name].open("wb") as log:
                processes.append(
                    subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
                )
        deadline = time.monotonic() + START_SECONDS
        while not gateway.answers():
            said = "\n".join(log.read_text()[-3000:] for log in logs.values())
            assert all(process.poll() is None for process in processes), f"a process ended:\n{said}"
            assert time.monotonic() < deadline, f"the gateway does not answer:\n{said}"
            time.sleep(0.1)
        yield gateway
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(timeout=30)
