"""NVIDIA's public client against a real model server process, each in its own environment."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from onnx import TensorProto

from tests.unit.model_server import models

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 300
CONFIG = """
name: "forest"
backend: "onnxruntime"
max_batch_size: 64
input [ { name: "X" data_type: TYPE_FP32 dims: [ 7 ] } ]
output [ { name: "variable" data_type: TYPE_FP32 dims: [ 1 ] } ]
version_policy { specific { versions: [ 1, 2 ] } }
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a model server with two versions of a forest, and a model of text."""
    root = tmp_path_factory.mktemp("repository")
    for version in (1, 2):
        models.write_version(root, "forest", version, models.forest_model(version))
    models.write_config(root, "forest", CONFIG)
    models.write_version(root, "text", 1, models.identity_model(TensorProto.STRING))
    settings = {"MODEL_REPOSITORY": str(root), "MODEL_SERVER_PORT": "0", "MODEL_SERVER_METRICS_PORT": "0"}
    server = subprocess.Popen(
        [sys.executable, "-m", "services.model_server"],
        cwd=ROOT,
        env={**os.environ, **settings, "MODEL_SERVER_LOG_FORMAT": "json", "MODEL_SERVER_DRAIN_SECONDS": "0"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield f"127.0.0.1:{await_port(server)}"
    finally:
        server.terminate()
        server.communicate(timeout=LIMIT_SECONDS)


def await_port(server: subprocess.Popen[str]) -> int:
    """Return the port that the server says it serves on, once its health says so too."""
    assert server.stderr is not None
    for line in server.stderr:
        entry = json.loads(line)
        if entry["event"] == "serving":
            port = int(entry["port"])
            break
    else:
        pytest.fail("the server ended before it served")
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for answer in stub.Watch(health_pb2.HealthCheckRequest(), timeout=LIMIT_SECONDS):
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                break
    return port


@pytest.fixture(scope="module")
def answers(interop_python: Path, address: str) -> dict[str, Any]:
    """What tritonclient was answered, from one run of the check script."""
    done = subprocess.run(
        [str(interop_python), str(ROOT / "tests/interop/tritonclient_check.py"), address],
        input=json.dumps(models.forest_rows(41, 5).tolist()),
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_health(answers: dict[str, Any]) -> None:
    assert answers["live"] is True
    assert answers["ready"] is True
    assert answers["model_ready"] is True
    assert answers["unknown_ready"] is False


def test_metadata_and_config(answers: dict[str, Any]) -> None:
    assert answers["server"]["name"] == "model-server"
    assert "model_repository" in answers["server"]["extensions"]
    assert answers["metadata"] == {
        "name": "forest",
        "versions": ["2", "1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "X", "datatype": "FP32", "shape": ["-1", "7"]}],
        "outputs": [{"name": "variable", "datatype": "FP32", "shape": ["-1", "1"]}],
    }
    config = answers["config"]["config"]
    assert (config["backend"], config["max_batch_size"]) == ("onnxruntime", 64)
    assert config["input"] == [{"name": "X", "data_type": "TYPE_FP32", "dims": ["7"]}]
    assert config["version_policy"] == {"specific": {"versions": ["1", "2"]}}


def test_the_index(answers: dict[str, Any]) -> None:
    assert answers["index"]["models"] == [
        {"name": "forest", "version": "2", "state": "READY"},
        {"name": "forest", "version": "1", "state": "READY"},
        {"name": "text", "version": "1", "state": "READY"},
    ]


def test_inferred_values_are_scikit_learns(answers: dict[str, Any]) -> None:
    rows = models.forest_rows(41, 5)
    assert (answers["newest_version"], answers["newest_id"]) == ("2", "r-1")
    np.testing.assert_allclose(answers["newest"], models.forest(2).predict(rows), rtol=2e-6)
    assert answers["older_version"] == "1"
    np.testing.assert_allclose(answers["older"], models.forest(1).predict(rows), rtol=2e-6)
    assert answers["background"] == answers["newest"]


def test_text(answers: dict[str, Any]) -> None:
    assert answers["text"] == ["é", "b"]


def test_refusals(answers: dict[str, Any]) -> None:
    assert answers["unknown_model"]["status"] == "StatusCode.NOT_FOUND"
    assert answers["unknown_load"]["status"] == "StatusCode.NOT_FOUND"
    for name, what in (
        ("wrong_shape", "input 'X' has shape [41, 3]"),
        ("wrong_datatype", "input 'X' is FP64"),
    ):
        assert answers[name]["status"] == "StatusCode.INVALID_ARGUMENT"
        assert what in answers[name]["message"]


def test_loading_unloading_and_statistics(answers: dict[str, Any]) -> None:
    assert answers["unloaded_ready"] is False
    assert answers["loaded_ready"] is True
    newest, older = answers["statistics"]["model_stats"]
    assert (newest["version"], newest["execution_count"], newest["inference_count"]) == ("2", "2", "82")
    assert (older["version"], older["execution_count"]) == ("1", "1")
    assert newest["inference_stats"]["fail"]["count"] == "2"
