"""Inferences a second of the model server against itself without a model, and against MLServer.

Run it as `python -m benchmarks.model_server`. Servers of one process each serve the training's own forest;
one Python client asks them in turns, 64 calls in flight, raw tensors, other rows in every call. MLServer runs
once with its scikit-learn runtime and once with a custom runtime for the same ONNX file, in an environment of
its own that the first run makes (`.venv-bench-peers`, from requirements/bench_peers.txt). Where that cannot
be installed, both are left out by name. Client and servers share the machine; ratios are medians over rounds.
"""

import argparse
import asyncio
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import joblib
import numpy as np
import uvloop
from sklearn.ensemble import RandomForestRegressor

from benchmarks.common import (
    Mark,
    calls_per_second,
    free_port,
    median_ratio,
    print_table,
    report,
    running_server,
    say,
)
from benchmarks.forests import draw_rows
from benchmarks.inference import fit
from gen.inference import grpc_service_pb2 as pb
from gen.inference.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from services.optimizer.domain.features import Float32Array
from services.optimizer.domain.models.version import CONVERSION_MODEL, INPUT_NAME
from services.optimizer.model_repository import ModelRepository
from services.optimizer.training.forest import export_forest
from tools.environments import InstallError, keep_environment

STREAMS, REQUESTS, PARITY, READY_SECONDS = 64, 512, 2e-6, 60.0
METHOD = "/inference.GRPCInferenceService/ModelInfer"
ROOT = Path(__file__).resolve().parents[1]
PEERS_LOCK, PEERS = ROOT / "requirements" / "bench_peers.txt", ROOT / ".venv-bench-peers"
OURS = "model server"


@dataclass(frozen=True, kw_only=True)
class Way:
    """A server that is compared with ours: our rate by its rate has to reach `at_least`."""

    name: str
    at_least: float


CHECKING: Final = Way(name="the same without a model", at_least=0.75)
BARE: Final = Way(name="the same that looks at no message", at_least=0.75)
MODELLESS: Final = {CHECKING.name: "checking", BARE.name: "bare"}
SKLEARN: Final = Way(name="MLServer, scikit-learn runtime", at_least=20.0)
ONNX: Final = Way(name="MLServer, custom ONNX runtime", at_least=1.8)


def write_models(folder: Path, forest: RandomForestRegressor, ports: Mapping[str, Sequence[int]]) -> None:
    """Write the forest below `folder` as each server wants it: ours as published, theirs with settings."""
    content = export_forest(forest)
    repository = ModelRepository(folder / "ours", CONVERSION_MODEL)
    repository.write_version(1, content)
    repository.write_config([1])
    for name, implementation, file in (
        (SKLEARN.name, "mlserver_sklearn.SKLearnModel", "model.joblib"),
        (ONNX.name, "mlserver_onnx.OnnxModel", "model.onnx"),
    ):
        place = folder / name
        place.mkdir()
        http, grpc_port, metrics = ports[name]
        _write_json(
            place / "settings.json",
            # It computes where it serves, as ours does: no hop between processes.
            {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc_port, "metrics_port": metrics}
            | {"debug": False, "parallel_workers": 0},
        )
        _write_json(
            place / "model-settings.json",
            {"name": CONVERSION_MODEL, "implementation": implementation, "parameters": {"uri": f"./{file}"}},
        )
    forest.set_params(n_jobs=1)  # threads cost more than they save at a few rows
    joblib.dump(forest, folder / SKLEARN.name / "model.joblib")
    (folder / ONNX.name / "model.onnx").write_bytes(content)
    shutil.copy(ROOT / "benchmarks" / "peers" / "mlserver_onnx.py", folder / ONNX.name)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content))


def make_requests(rows: Float32Array, size: int) -> Sequence[bytes]:
    """Return requests of `size` rows each, all of other rows."""
    batches = np.ascontiguousarray(rows[: REQUESTS * size], dtype="<f4").reshape(REQUESTS, size, -1)
    tensor = pb.ModelInferRequest.InferInputTensor(
        name=INPUT_NAME, datatype="FP32", shape=list(batches.shape[1:])
    )
    return [
        pb.ModelInferRequest(
            model_name=CONVERSION_MODEL, inputs=[tensor], raw_input_contents=[batch.tobytes()]
        ).SerializeToString()
        for batch in batches
    ]


def start(way: str, folder: Path, ports: Sequence[int]) -> AbstractAsyncContextManager[str]:
    """Run a server; the block has its address."""
    if way == OURS or way in MODELLESS:
        module = ["services.model_server"] if way == OURS else ["benchmarks.modelless_server", MODELLESS[way]]
        environment = {
            "MODEL_REPOSITORY": str(folder / "ours"),
            "MODEL_SERVER_PORT": str(ports[1]),
            "MODEL_SERVER_METRICS_PORT": str(ports[2]),
            "MODEL_SERVER_DRAIN_SECONDS": "0",
            "MODEL_SERVER_LOG_LEVEL": "WARNING",
        }
        return running_server([sys.executable, "-m", *module], port=ports[1], environment=environment)
    command = [str(PEERS / "bin" / "mlserver"), "start", str(folder / way)]
    return running_server(command, port=ports[1], environment={}, output=subprocess.DEVNULL)


async def check_answers(
    channel: grpc.aio.Channel, requests: Sequence[bytes], expected: np.ndarray[Any, Any]
) -> None:
    """Wait until the model is ready, and raise unless the first answers are the forest's."""
    stub = GRPCInferenceServiceStub(channel)
    async with asyncio.timeout(READY_SECONDS):
        while not await is_ready(stub):  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.1)
    for request, rates in zip(requests, expected, strict=False):
        answer = await stub.ModelInfer(pb.ModelInferRequest.FromString(request))
        np.testing.assert_allclose(read_rates(answer), rates, rtol=PARITY)


async def is_ready(stub: GRPCInferenceServiceStub) -> bool:
    """Return whether the model is ready; MLServer fails where it has not begun to load it."""
    try:
        return bool((await stub.ModelReady(pb.ModelReadyRequest(name=CONVERSION_MODEL))).ready)
    except grpc.aio.AioRpcError:
        return False


def read_rates(answer: pb.ModelInferResponse) -> np.ndarray[Any, Any]:
    """Return the only output's values, raw or typed."""
    [output] = answer.outputs
    if answer.raw_output_contents:
        return np.frombuffer(answer.raw_output_contents[0], "<f4" if output.datatype == "FP32" else "<f8")
    contents = output.contents
    return np.array(contents.fp32_contents if output.datatype == "FP32" else contents.fp64_contents)


def find_ways() -> Sequence[Way]:
    """Return what ours is compared with; peers that cannot be installed here are named and left out."""
    try:
        keep_environment(PEERS, PEERS_LOCK)
    except InstallError as error:
        say(f"left out: {SKLEARN.name}; {ONNX.name} (not installable here: {error})")
        return [CHECKING, BARE]
    return [CHECKING, BARE, ONNX, SKLEARN]


async def measure(rounds: int, seconds: float, size: int) -> int:
    """Take the rounds; print what was measured; return 1 where a pass mark is missed."""
    say("fitting the forest")
    forest = fit()
    rows = draw_rows(REQUESTS * size, seed=2).features
    requests = make_requests(rows, size)
    expected = forest.predict(rows).reshape(REQUESTS, size)
    ways = find_ways()
    names = [OURS, *(way.name for way in ways)]
    ports = {name: [free_port() for _ in range(3)] for name in (*names, SKLEARN.name, ONNX.name)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_models(folder, forest, ports)
        async with AsyncExitStack() as stack:
            channels = {}
            for name in names:
                address = await stack.enter_async_context(start(name, folder, ports[name]))
                channels[name] = await stack.enter_async_context(grpc.aio.insecure_channel(address))
                if name not in MODELLESS:
                    await check_answers(channels[name], requests[:20], expected[:20])
            rates = await take_rounds(channels, itertools.cycle(requests), rounds=rounds, seconds=seconds)
    return tell(rates, ways, size)


async def take_rounds(
    channels: Mapping[str, grpc.aio.Channel], payloads: Iterator[bytes], *, rounds: int, seconds: float
) -> Mapping[str, Sequence[float]]:
    """Return each server's answers a second, round by round; the first in line changes."""
    rates: dict[str, list[float]] = {name: [] for name in channels}
    names = list(channels)
    for number in range(-1, rounds):  # the first round warms up
        for name in names[number % len(names) :] + names[: number % len(names)]:
            rate = await calls_per_second(channels[name], METHOD, payloads, streams=STREAMS, seconds=seconds)
            if number >= 0:
                rates[name].append(rate)
    return rates


def tell(rates: Mapping[str, Sequence[float]], ways: Sequence[Way], size: int) -> int:
    """Print the table and the marks."""
    print_table(
        f"Inferences a second of {size} row{'s' if size > 1 else ''}, {STREAMS} calls in flight",
        ["what", "median", "slowest round", "fastest round"],
        [
            [name, *(f"{value:,.0f}" for value in (statistics.median(rate), min(rate), max(rate)))]
            for name, rate in rates.items()
        ],
    )
    ours = rates[OURS]
    marks = [
        Mark(
            name=f"{OURS} / {way.name}",
            value=median_ratio(ours, rates[way.name]),
            limit=way.at_least,
            at_most=False,
            detail=f"{statistics.median(ours):,.0f}/s of {statistics.median(rates[way.name]):,.0f}/s",
        )
        for way in ways
    ]
    return report("The model server", marks)


def main() -> int:
    """Return the exit status: 1 where a mark is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model_server", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds, each with every server (default: 7)")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of a turn (default: 2)")
    parser.add_argument("--rows", type=int, default=1, help="rows of a request (default: 1)")
    arguments = parser.parse_args()
    return uvloop.run(measure(arguments.rounds, arguments.seconds, arguments.rows))


if __name__ == "__main__":
    sys.exit(main())
