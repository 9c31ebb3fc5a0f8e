"""Loading, swapping, unloading and polling of models, over a real in-process server and a real stub."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc
import numpy as np
import pytest

from gen.inference import grpc_service_pb2 as pb
from services.common.grpc_server import build_server
from services.model_server.loading import LoadedVersion
from services.model_server.repository import Repository
from services.model_server.server import open_service
from services.model_server.session import Session
from services.model_server.settings import ModelServerSettings
from tests.contract.model_server.inference_stand import (
    DEADLINE,
    Array,
    Stub,
    infer,
    raw_output,
    raw_request,
    refusal_of,
    serving,
)
from tests.unit.model_server import models


async def load(stub: Stub, model: str) -> None:
    await stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=model), timeout=DEADLINE)


async def test_an_empty_repository_is_live_and_ready(tmp_path: Path) -> None:
    async with serving(tmp_path) as stub:
        assert (await stub.ServerLive(pb.ServerLiveRequest())).live
        assert (await stub.ServerReady(pb.ServerReadyRequest())).ready
        assert not (await stub.ModelReady(pb.ModelReadyRequest(name="m"))).ready
        assert not (await stub.RepositoryIndex(pb.RepositoryIndexRequest())).models
        assert not (await stub.ModelStatistics(pb.ModelStatisticsRequest())).model_stats


async def test_a_server_that_is_about_to_stop_is_not_ready(tmp_path: Path) -> None:
    stopping = asyncio.Event()
    settings = ModelServerSettings(repository=tmp_path)
    async with open_service(settings, stopping) as service:
        server = build_server(settings=settings, services=[service])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = Stub(channel)
            assert (await stub.ServerReady(pb.ServerReadyRequest())).ready
            stopping.set()
            assert not (await stub.ServerReady(pb.ServerReadyRequest())).ready
            assert (await stub.ServerLive(pb.ServerLiveRequest())).live
        await server.stop(None)


async def test_metadata_config_index_and_readiness_of_a_model(tmp_path: Path) -> None:
    for version in (1, 2, 3):
        models.write_version(tmp_path, "forest", version, models.forest_model(version))
    models.write_config(
        tmp_path, "forest", "max_batch_size: 64 version_policy { latest { num_versions: 2 } }"
    )
    async with serving(tmp_path) as stub:
        server = await stub.ServerMetadata(pb.ServerMetadataRequest())
        assert server.name == "model-server"
        assert list(server.extensions) == ["model_repository", "model_configuration", "statistics"]

        metadata = await stub.ModelMetadata(pb.ModelMetadataRequest(name="forest", version="2"))
        assert (metadata.name, metadata.platform) == ("forest", "onnxruntime_onnx")
        assert list(metadata.versions) == ["3", "2"]
        (given,), (taken,) = metadata.inputs, metadata.outputs
        assert (given.name, given.datatype, list(given.shape)) == ("X", "FP32", [-1, 7])
        assert (taken.name, taken.datatype, list(taken.shape)) == ("variable", "FP32", [-1, 1])

        config = (await stub.ModelConfig(pb.ModelConfigRequest(name="forest"))).config
        assert config.max_batch_size == 64
        assert (config.backend, config.default_model_filename) == ("onnxruntime", "model.onnx")
        assert (config.input[0].name, list(config.input[0].dims)) == ("X", [7])
        assert config.output[0].data_type == pb.TYPE_FP32

        index = await stub.RepositoryIndex(pb.RepositoryIndexRequest())
        assert [(line.name, line.version, line.state) for line in index.models] == [
            ("forest", "3", "READY"),
            ("forest", "2", "READY"),
        ]
        for asked, ready in (("", True), ("3", True), ("1", False), ("x", False)):
            answer = await stub.ModelReady(pb.ModelReadyRequest(name="forest", version=asked))
            assert answer.ready is ready, asked


async def test_a_bad_file_is_refused_while_the_old_one_serves(tmp_path: Path) -> None:
    models.write_version(tmp_path, "m", 1, models.scale_model(1.0))
    request = raw_request("m", np.ones((1, 2), np.float32))
    async with serving(tmp_path) as stub:
        models.write_version(tmp_path, "m", 2, b"garbage")
        code, message, reason, _ = await refusal_of(
            stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="m"))
        )
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_FILE_INVALID")
        assert message == "model 'm': version 2: the model file cannot be loaded"
        assert raw_output(await infer(stub, request)).tolist() == [[1.0, 1.0]]
        index = await stub.RepositoryIndex(pb.RepositoryIndexRequest())
        assert [(line.version, line.state, line.reason) for line in index.models] == [
            ("1", "READY", ""),
            ("", "UNAVAILABLE", message),
        ]
        ready = await stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True))
        assert [line.version for line in ready.models] == ["1"]


async def test_versions_are_swapped_under_load_without_a_failed_request(tmp_path: Path) -> None:
    models.write_version(tmp_path, "m", 1, models.scale_model(1.0))
    models.write_config(tmp_path, "m", "max_batch_size: 8")
    request = raw_request("m", np.ones((1, 2), np.float32))
    answers: list[int] = []
    done = asyncio.Event()

    async def ask(stub: Stub) -> None:
        while not done.is_set():
            response = await infer(stub, request)
            assert raw_output(response)[0, 0] == float(response.model_version)
            answers.append(int(response.model_version))

    async with serving(tmp_path) as stub:
        asking = [asyncio.create_task(ask(stub)) for _ in range(16)]

        async def some_answers() -> None:
            """Until more calls were answered than can have been on their way before."""
            seen = len(answers)
            while len(answers) < seen + 2 * len(asking):
                await asyncio.sleep(0)
                assert not any(task.done() for task in asking)

        await some_answers()  # of version 1
        for version in range(2, 22):
            models.write_version(tmp_path, "m", version, models.scale_model(float(version)))
            await load(stub, "m")
            await some_answers()
        done.set()
        await asyncio.gather(*asking)
    assert set(answers) == set(range(1, 22))


async def test_a_long_inference_survives_the_unloading_of_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.write_version(tmp_path, "heavy", 1, models.heavy_model())
    rows = np.random.default_rng(1).random((500, 256)).astype(np.float32)
    find, run = Repository.find, Session.run
    found: list[str] = []
    go_on = threading.Event()

    def noted_find(self: Repository, model: str, version: str = "") -> LoadedVersion:
        one = find(self, model, version)
        found.append(model)
        return one

    def held_run(self: Session, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        assert go_on.wait(DEADLINE)
        return run(self, inputs, outputs)

    async with serving(tmp_path) as stub:
        monkeypatch.setattr(Repository, "find", noted_find)
        monkeypatch.setattr(Session, "run", held_run)
        calls = [asyncio.create_task(infer(stub, raw_request("heavy", rows))) for _ in range(4)]
        while len(found) < len(calls):
            assert not any(call.done() for call in calls)
            await asyncio.sleep(0.001)
        await stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="heavy"))
        go_on.set()
        for call in calls:
            np.testing.assert_allclose(raw_output(await call), rows, rtol=1e-5)
        code, _, reason, _ = await refusal_of(stub.ModelInfer(raw_request("heavy", rows)))
        assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "MODEL_NOT_READY")
        await load(stub, "heavy")
        assert (await stub.ModelReady(pb.ModelReadyRequest(name="heavy"))).ready


async def test_load_and_unload_refuse_what_they_would_have_to_pass_over(tmp_path: Path) -> None:
    models.write_version(tmp_path, "m", 1, models.scale_model(1.0))
    async with serving(tmp_path) as stub:
        override = pb.RepositoryModelLoadRequest(model_name="m")
        override.parameters["config"].string_param = "{}"
        assert (await refusal_of(stub.RepositoryModelLoad(override)))[2] == "PARAMETER_REFUSED"
        nameless = pb.RepositoryModelLoadRequest()
        assert (await refusal_of(stub.RepositoryModelLoad(nameless)))[3] == ["model_name"]
        elsewhere = pb.RepositoryModelUnloadRequest(repository_name="r", model_name="m")
        assert (await refusal_of(stub.RepositoryModelUnload(elsewhere)))[3] == ["repository_name"]
        unknown = pb.RepositoryModelLoadRequest(model_name="../m")
        assert (await refusal_of(stub.RepositoryModelLoad(unknown)))[0] == grpc.StatusCode.NOT_FOUND
        unload = pb.RepositoryModelUnloadRequest(model_name="m")
        unload.parameters["unload_dependents"].bool_param = True
        await stub.RepositoryModelUnload(unload)
        assert not (await stub.ModelReady(pb.ModelReadyRequest(name="m"))).ready


async def test_polling_serves_a_model_that_appears_and_goes_on_after_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.model_server.layout import Layout

    whole, troubles = Layout.list_models, [OSError("lost"), ValueError("a defect"), OSError("lost")]

    def list_models(self: Layout) -> list[str]:
        if (tmp_path / "m").exists() and troubles:
            raise troubles.pop()
        return whole(self)

    monkeypatch.setattr(Layout, "list_models", list_models)
    async with serving(tmp_path, {"control_mode": "poll", "poll_seconds": 0.01}) as stub:
        models.write_version(tmp_path, "m", 1, models.scale_model(3.0))
        while not (await stub.ModelReady(pb.ModelReadyRequest(name="m"))).ready:
            await asyncio.sleep(0.005)
        assert not troubles
        response = await infer(stub, raw_request("m", np.ones((1, 2), np.float32)))
        assert raw_output(response).tolist() == [[3.0, 3.0]]
