"""A real Envoy before real services, each in a process of its own, and a caller of their REST paths."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from deploy.envoy.bootstrap import envoy_binary, render_bootstrap
from tests.e2e.local_run import REPOSITORY, untraced_environment

DESCRIPTOR = REPOSITORY / "gen" / "descriptors" / "api.binpb"
ALL_SERVICES = ("analytics", "abtest", "optimizer", "model_server")
LIMIT_SECONDS = 300.0
"""What nothing takes that ends at all, on a machine however busy."""
SHOWN_CHARACTERS = 3000
Answer = tuple[int, dict[str, Any]]


class RestClient:
    """Speaks JSON with a gateway on this machine; `prefix` comes before every path."""

    def __init__(self, port: int, *, prefix: str = "", probe: str) -> None:
        self.port = port
        self._prefix = prefix
        self._probe = probe

    @property
    def target(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def ask(
        self,
        verb: str,
        path: str,
        body: dict[str, Any] | None = None,
        query: Mapping[str, object] | None = None,
    ) -> Answer:
        """Return the HTTP status and the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_SECONDS)
        try:
            content = None if body is None else json.dumps(body).encode()
            asked = f"{self._prefix}{path}" + (f"?{urlencode(query, doseq=True)}" if query else "")
            connection.request(verb, asked, content, {"content-type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def get(self, path: str, **query: object) -> dict[str, Any]:
        """Return the answer of a GET that must succeed."""
        status, answer = self.ask("GET", path, query=query)
        assert status == http.client.OK, f"{path}: {status} {answer}"
        return answer

    def post(self, path: str, **body: object) -> dict[str, Any]:
        """Return the answer of a POST that must succeed."""
        status, answer = self.ask("POST", path, body)
        assert status == http.client.OK, f"{path}: {status} {answer}"
        return answer

    def refused(self, verb: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, str]:
        """Return the HTTP status and the reason of a refusal."""
        status, answer = self.ask(verb, path, body)
        assert status != http.client.OK, f"{path}: {answer}"
        (reason,) = [detail["reason"] for detail in answer["details"] if "reason" in detail]
        return status, reason

    def answers(self) -> bool:
        """Whether the service that is probed answers through the gateway."""
        try:
            return self.ask("GET", self._probe)[0] == http.client.OK
        except (OSError, http.client.HTTPException, ValueError):
            return False


@contextmanager
def running_gateway(
    client: RestClient,
    folder: Path,
    free_port: Callable[[], int],
    *,
    services: Mapping[str, int],
    environment: Mapping[str, str],
    traced: bool = True,
) -> Iterator[None]:
    """Run services on their ports behind Envoy on the client's, until the end of the block.

    The other services' ports are ones where nobody listens. The block begins when the client is answered;
    `folder` takes the logs. Services are `traced` where their coverage counts.
    """
    configuration = folder / "envoy.yaml"
    configuration.write_text(_configure(client.port, services, free_port))
    commands = {name: [sys.executable, "-m", f"services.{name}"] for name in services}
    commands["envoy"] = [str(envoy_binary()), "--config-path", str(configuration), "--disable-hot-restart"]
    settings = {**(os.environ if traced else untraced_environment()), **environment}
    for name, port in services.items():
        settings[f"{name}_PORT".upper()] = str(port)
        settings[f"{name}_METRICS_PORT".upper()] = str(free_port())
        settings[f"{name}_DRAIN_SECONDS".upper()] = "0"
        settings[f"{name}_STATEMENT_TIMEOUT_SECONDS".upper()] = f"{LIMIT_SECONDS}"
    logs = {name: folder / f"{name}.log" for name in commands}
    processes: list[subprocess.Popen[bytes]] = []

    def is_up() -> bool:
        assert all(process.poll() is None for process in processes), f"a process ended:\n{_tail(logs)}"
        return client.answers()

    try:
        for name, command in commands.items():
            with logs[name].open("wb") as log:
                processes.append(
                    subprocess.Popen(command, cwd=REPOSITORY, env=settings, stdout=log, stderr=log)
                )
        wait_for(is_up, lambda: f"the gateway does not answer:\n{_tail(logs)}")
        yield
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(timeout=LIMIT_SECONDS)


def _configure(port: int, services: Mapping[str, int], free_port: Callable[[], int]) -> str:
    ports = {name: services.get(name) or free_port() for name in ALL_SERVICES}
    return render_bootstrap(
        gateway_port=port,
        admin_port=free_port(),
        analytics_port=ports["analytics"],
        abtest_port=ports["abtest"],
        optimizer_port=ports["optimizer"],
        model_server_port=ports["model_server"],
        descriptor_path=DESCRIPTOR,
        unary_timeout_seconds=LIMIT_SECONDS,
    )


def wait_for(holds: Callable[[], bool], tell: Callable[[], str]) -> None:
    """Wait until something holds; fail with what is told where it does not in time."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, tell()
        time.sleep(0.05)


def _tail(logs: Mapping[str, Path]) -> str:
    return "\n".join(log.read_text()[-SHOWN_CHARACTERS:] for log in logs.values())
