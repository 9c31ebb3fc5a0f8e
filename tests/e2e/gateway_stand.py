"""A real Envoy in front of small real services, and the caller of it that tests need."""

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from deploy.envoy.bootstrap import envoy_binary, render_bootstrap
from tests.e2e.gateway_backends import LIMIT_SECONDS, SERVICES, Backends, Recorder
from tests.ports import free_port

DESCRIPTORS = Path(__file__).resolve().parents[2] / "gen/descriptors/api.binpb"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return cast("dict[str, Any]", json.loads(self.body))


class Gateway:
    """A running Envoy."""

    def __init__(self, port: int, backends: Backends | None, log: Path) -> None:
        self.port = port
        self._log = log
        self.target = f"127.0.0.1:{port}"
        self._backends = backends

    @property
    def backends(self) -> Backends:
        assert self._backends is not None
        return self._backends

    @property
    def recorder(self) -> Recorder:
        return self.backends.recorder

    @property
    def last_request(self) -> Any:  # noqa: ANN401 - whatever message came last
        return self.recorder.requests[-1]

    def get(self, path: str, **headers: str) -> Answer:
        return self.call("GET", path, headers=headers)

    def post(self, path: str, body: object = None) -> Answer:
        content = body if isinstance(body, str | bytes) else json.dumps(body)
        return self.call("POST", path, body=content, headers={"content-type": "application/json"})

    def call(
        self,
        method: str,
        path: str,
        *,
        body: str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_SECONDS)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            lowered = {key.lower(): value for key, value in response.getheaders()}
            return Answer(status=response.status, headers=lowered, body=response.read())
        finally:
            connection.close()

    def logged_calls(self) -> list[dict[str, Any]]:
        """Return the lines of the access log that are written whole."""
        whole = self._log.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def until_logged(self, *request_ids: str) -> list[dict[str, Any]]:
        """Return the access log's lines of these calls, in order; fail where one does not come in time."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while True:
            lines = {line["request_id"]: line for line in self.logged_calls()}
            if set(request_ids) <= set(lines):
                return [lines[request_id] for request_id in request_ids]
            assert time.monotonic() < deadline, f"{set(request_ids) - set(lines)} left no line"
            time.sleep(0.05)

    def until_health_is(self, status: int) -> Answer:
        """Ask /healthz until it answers `status`; fail where it does not in time."""
        return self.until("/healthz", status)

    def until(self, path: str, status: int) -> Answer:
        """Ask until the answer has `status`; fail where it does not come in time."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while (answer := self.get(path)).status != status:
            assert time.monotonic() < deadline, f"{path} still answers {answer.status}: {answer.body!r}"
            time.sleep(0.05)
        return answer


@contextmanager
def running_gateway(
    folder: Path, backends: Backends | None, *, unary_seconds: float = LIMIT_SECONDS
) -> Iterator[Gateway]:
    """Run Envoy in front of `backends`, or of ports where nobody listens; ready to be asked.

    It gives a call `unary_seconds`.
    """
    ports = backends.ports if backends else {name: free_port() for name in SERVICES}
    gateway = Gateway(free_port(), backends, folder / "envoy.log")
    configuration = folder / "envoy.yaml"
    configuration.write_text(
        render_bootstrap(
            gateway_port=gateway.port,
            admin_port=free_port(),
            analytics_port=ports["analytics"],
            abtest_port=ports["abtest"],
            optimizer_port=ports["optimizer"],
            model_server_port=ports["model_server"],
            descriptor_path=DESCRIPTORS,
            unary_timeout_seconds=unary_seconds,
        )
    )
    command = [str(envoy_binary()), "--config-path", str(configuration), "--disable-hot-restart"]
    with (folder / "envoy.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--concurrency", "1", "--log-level", "warning"], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _until_listening(gateway.port, process, folder / "envoy.log")
        if backends:
            gateway.until_health_is(200)
        yield gateway
    finally:
        process.terminate()
        process.wait(timeout=LIMIT_SECONDS)


def _until_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
