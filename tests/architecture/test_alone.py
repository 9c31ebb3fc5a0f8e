"""Each service starts alone: its own dependencies, no sibling, and no heavy library at start-up."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local.bootstrap import DatabaseAddresses
from tools.environments import make_environment

ROOT = Path(__file__).resolve().parents[2]
SERVICES = {
    "analytics": "campaigns.analytics.v1.AnalyticsService",
    "abtest": "campaigns.abtest.v1.ABTestService",
    "optimizer": "campaigns.optimizer.v1.OptimizerService",
    "model_server": "inference.GRPCInferenceService",
}
FORBIDDEN_LIBRARIES = ("/sklearn/", "/scipy/stats/", "/pandas/")
LIMIT_SECONDS = 300


@pytest.fixture(scope="session", params=sorted(SERVICES))
def lonely(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A folder with one service and its own environment, and nothing of the others."""
    name = str(request.param)
    folder = tmp_path_factory.mktemp(name)
    ignore = shutil.ignore_patterns("__pycache__")
    (folder / "services").mkdir()
    (folder / "services/__init__.py").touch()
    for part in ("services/common", f"services/{name}", "gen"):
        shutil.copytree(ROOT / part, folder / part, ignore=ignore)
    make_environment(folder / ".venv", ROOT / f"requirements/{name}.txt")
    return name, folder


@contextmanager
def started(name: str, folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [str(folder / ".venv/bin/python"), "-m", f"services.{name}"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        stderr=log,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(LIMIT_SECONDS)
        log.close()


def wait_until_serving(process: subprocess.Popen[bytes], address: str, service: str, log: Path) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        while True:
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            try:
                answer = stub.Check(
                    health_pb2.HealthCheckRequest(service=service), timeout=5, wait_for_ready=True
                )
            except grpc.RpcError:
                continue
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
            time.sleep(0.05)


def test_a_service_starts_alone_and_light(
    lonely: tuple[str, Path],
    database: DatabaseAddresses,
    free_port: Callable[[], int],
    tmp_path: Path,
) -> None:
    name, folder = lonely
    port = free_port()
    prefix = name.upper()
    environment = {
        f"{prefix}_PORT": str(port),
        f"{prefix}_METRICS_PORT": "0",
        f"{prefix}_DRAIN_SECONDS": "0",
        "MODEL_REPOSITORY": str(tmp_path / "models"),
    }
    if hasattr(database, name):
        environment[f"{prefix}_DATABASE_URL"] = getattr(database, name)
    with started(name, folder, environment) as process:
        wait_until_serving(process, f"127.0.0.1:{port}", SERVICES[name], folder / "log")
        mapped = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")
        loaded = {library for library in FORBIDDEN_LIBRARIES if library in mapped}
    assert not loaded
    assert process.returncode == 0, (folder / "log").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_help_lists_the_settings_without_any_being_set(name: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", f"services.{name}", "--help"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{name.upper()}_PORT" in result.stdout
    assert "migrate" in result.stdout or name == "model_server"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_wrong_setting_fails_by_name(name: str) -> None:
    variable = f"{name.upper()}_PORT"
    result = subprocess.run(
        [sys.executable, "-m", f"services.{name}"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], variable: "many"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert f"setting {variable}:" in result.stderr
