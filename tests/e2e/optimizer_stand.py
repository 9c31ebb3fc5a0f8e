"""The real gateway before the real optimizer and model server, and a caller of its REST paths."""

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
from deploy.local.bootstrap import DatabaseAddresses

REPOSITORY = Path(__file__).resolve().parents[2]
DESCRIPTOR = REPOSITORY / "gen" / "descriptors" / "api.binpb"
START_SECONDS = 60.0
Answer = tuple[int, dict[str, Any]]


class Client:
    """Speaks JSON with the gateway; `models` is the model repository behind it."""

    def __init__(self, port: int, models: Path) -> None:
        self._port = port
        self.target = f"127.0.0.1:{port}"
        self.models = models

    def ask(
        self,
        verb: str,
        path: str,
        body: dict[str, Any] | None = None,
        query: Mapping[str, object] | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=180)
        try:
            content = None if body is None else json.dumps(body).encode()
            asked = f"/api/optimize{path}" + (f"?{urlencode(query, doseq=True)}" if query else "")
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
        """Whether the optimizer answers through the gateway."""
        try:
            return self.ask("GET", "/jobs")[0] == http.client.OK
        except (OSError, http.client.HTTPException, ValueError):
            return False


@contextmanager
def running_optimizer_gateway(
    database: DatabaseAddresses, folder: Path, free_port: Callable[[], int]
) -> Iterator[Client]:
    """Run gateway, optimizer and model server over a database; jobs do not run."""
    ports = {name: free_port() for name in ("gateway", "optimizer", "model_server")}
    configuration = folder / "envoy.yaml"
    configuration.write_text(
        render_bootstrap(
            gateway_port=ports["gateway"],
            admin_port=free_port(),
            analytics_port=free_port(),
            abtest_port=free_port(),
            optimizer_port=ports["optimizer"],
            model_server_port=ports["model_server"],
            descriptor_path=DESCRIPTOR,
        )
    )
    environment = {
        **os.environ,
        "OPTIMIZER_DATABASE_URL": database.optimizer,
        "OPTIMIZER_PORT": str(ports["optimizer"]),
        "OPTIMIZER_METRICS_PORT": str(free_port()),
        "OPTIMIZER_DRAIN_SECONDS": "0",
        "OPTIMIZER_JOBS_ENABLED": "false",
        "OPTIMIZER_MODEL_SERVER_ADDRESS": f"127.0.0.1:{ports['model_server']}",
        "MODEL_SERVER_PORT": str(ports["model_server"]),
        "MODEL_SERVER_METRICS_PORT": str(free_port()),
        "MODEL_SERVER_DRAIN_SECONDS": "0",
        "MODEL_REPOSITORY": str(folder / "models"),
    }
    (folder / "models").mkdir()
    commands = {
        "model_server": [sys.executable, "-m", "services.model_server"],
        "optimizer": [sys.executable, "-m", "services.optimizer"],
        "envoy": [str(envoy_binary()), "--config-path", str(configuration), "--disable-hot-restart"],
    }
    client = Client(ports["gateway"], folder / "models")
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for name, command in commands.items():
            with (folder / f"{name}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
                )
        _wait_for(client.answers, lambda: "\n".join(log.read_text()[-3000:] for log in folder.glob("*.log")))
        yield client
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(timeout=30)


def _wait_for(condition: Callable[[], bool], describe: Callable[[], str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, describe()
        time.sleep(0.1)
