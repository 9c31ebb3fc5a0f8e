"""The model server as a process: command line, settings, health, reflection, metrics, drain."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from gen.inference import grpc_service_pb2 as pb
from tests.ports import free_port
from tests.unit.model_server import models

ROOT = Path(__file__).resolve().parents[3]
SERVICE = "inference.GRPCInferenceService"
LIMIT_SECONDS = 120.0


def command(*arguments: str, **settings: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "services.model_server", *arguments],
        cwd=ROOT,
        env={**os.environ, "MODEL_SERVER_LOG_FORMAT": "json", **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def process(root: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[str], grpc.Channel, int]]:
    port, metrics_port = free_port(), free_port()
    given = {
        "MODEL_REPOSITORY": str(root),
        "MODEL_SERVER_PORT": str(port),
        "MODEL_SERVER_METRICS_PORT": str(metrics_port),
        "MODEL_SERVER_DRAIN_SECONDS": "0.2",
        **settings,
    }
    server = command(**given)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield server, channel, metrics_port
    finally:
        server.kill()
        server.communicate()


def await_serving(channel: grpc.Channel, service: str = "") -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    asked = health_pb2.HealthCheckRequest(service=service)
    watching = stub.Watch(asked, wait_for_ready=True, timeout=LIMIT_SECONDS)
    assert any(answer.status == health_pb2.HealthCheckResponse.SERVING for answer in watching)
    watching.cancel()


def metrics_of(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=LIMIT_SECONDS) as page:
        return str(page.read().decode())


def test_help_names_every_setting_with_its_default() -> None:
    server = command("--help")
    output, _ = server.communicate(timeout=LIMIT_SECONDS)
    assert server.returncode == 0
    for setting, default in (
        ("MODEL_REPOSITORY", ".data/models"),
        ("MODEL_SERVER_PORT", "8001"),
        ("MODEL_SERVER_METRICS_PORT", "9104"),
        ("MODEL_SERVER_CONTROL_MODE", "explicit"),
        ("MODEL_SERVER_MAX_BATCH_SIZE", "16384"),
        ("MODEL_SERVER_INTRA_OP_THREADS", "1"),
    ):
        assert re.search(rf"{setting} .*{re.escape(default)}", output), setting


def test_a_wrong_setting_fails_by_name() -> None:
    server = command(MODEL_SERVER_WORKERS="0", MODEL_SERVER_CONTROL_MODE="sometimes")
    _, errors = server.communicate(timeout=LIMIT_SECONDS)
    assert server.returncode == 2
    assert "setting MODEL_SERVER_WORKERS: " in errors
    assert "setting MODEL_SERVER_CONTROL_MODE: " in errors


def test_a_taken_port_is_one_line_that_names_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = command(MODEL_SERVER_PORT=str(port), MODEL_REPOSITORY=str(tmp_path))
        _, errors = server.communicate(timeout=LIMIT_SECONDS)
    assert server.returncode == 1
    assert re.search(rf"model_server: port {port} .* set MODEL_SERVER_PORT", errors)


def test_an_empty_folder_serves_and_stays_empty_and_a_signal_ends_it_cleanly(tmp_path: Path) -> None:
    with process(tmp_path) as (server, channel, _):
        await_serving(channel)
        await_serving(channel, SERVICE)
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = reflection.ServerReflectionInfo(iter([request]))
        assert SERVICE in [service.name for service in answer.list_services_response.service]
        server.send_signal(signal.SIGTERM)
        _, errors = server.communicate(timeout=LIMIT_SECONDS)
        assert server.returncode == 0, errors
        assert '"event": "stopped"' in errors
    assert list(tmp_path.iterdir()) == []


def test_an_inference_under_way_is_answered_before_the_server_stops(tmp_path: Path) -> None:
    models.write_version(tmp_path, "heavy", 1, models.heavy_model(rounds=30))
    rows = np.random.default_rng(1).random((4000, 256)).astype(np.float32)
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=rows.shape)
    request = pb.ModelInferRequest(model_name="heavy", inputs=[tensor], raw_input_contents=[rows.tobytes()])
    settings = {"MODEL_SERVER_DRAIN_SECONDS": "0", "MODEL_SERVER_GRACE_SECONDS": f"{LIMIT_SECONDS}"}
    with process(tmp_path, **settings) as (server, channel, metrics_port):
        await_serving(channel)
        infer = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        calls = [infer.future(request, timeout=LIMIT_SECONDS) for _ in range(6)]
        method = f'{{grpc_method="ModelInfer",grpc_service="{SERVICE}"}}'
        began = f"grpc_server_started_total{method} {len(calls)}.0"
        while began not in metrics_of(metrics_port):
            assert server.poll() is None
            time.sleep(0.01)
        server.send_signal(signal.SIGTERM)
        answers = [call.result() for call in calls]
        server.communicate(timeout=LIMIT_SECONDS)
    assert server.returncode == 0
    for answer in answers:
        np.testing.assert_allclose(
            np.frombuffer(answer.raw_output_contents[0], "<f4"), rows.reshape(-1), 1e-4
        )


def test_metrics_tell_what_is_served(tmp_path: Path) -> None:
    models.write_version(tmp_path, "forest", 4, models.forest_model(1))
    with process(tmp_path) as (_, channel, metrics_port):
        await_serving(channel)
        text = metrics_of(metrics_port)
    assert 'model_server_served{model="forest",version="4"} 1.0' in text
    assert 'model_server_loads_total{model="forest",outcome="loaded"} 1.0' in text


@pytest.mark.parametrize("module", ["sklearn", "scipy", "asyncpg", "onnx"])
def test_nothing_heavy_is_imported_at_start(module: str) -> None:
    script = f"import sys, services.model_server.server; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0
