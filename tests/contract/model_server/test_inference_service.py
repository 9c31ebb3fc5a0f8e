"""Every RPC of the model server, over a real in-process server and a real stub."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2
from onnx import TensorProto

from gen.inference import grpc_service_pb2 as pb
from gen.inference import grpc_service_pb2_grpc as pb_grpc
from services.common.grpc_server import build_server
from services.model_server.server import open_service
from services.model_server.settings import ModelServerSettings
from tests.unit.model_server import models

Array = np.ndarray[Any, np.dtype[Any]]
Stub = pb_grpc.GRPCInferenceServiceStub
DEADLINE = 20


@asynccontextmanager
async def serving(root: Path, settings: Mapping[str, object] | None = None) -> AsyncIterator[Stub]:
    given = ModelServerSettings.model_validate({"repository": root, **(settings or {})})
    async with open_service(given, asyncio.Event()) as service:
        server = build_server(settings=given, services=[service])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Stub(channel)
        await server.stop(None)


def raw_request(model: str, array: Array, name: str = "x") -> pb.ModelInferRequest:
    datatype = {"float32": "FP32", "float64": "FP64", "int64": "INT64"}[array.dtype.name]
    tensor = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=array.shape)
    return pb.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[array.tobytes()])


def typed_request(model: str, rows: Sequence[Sequence[float]], name: str = "x") -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(
        name=name,
        datatype="FP32",
        shape=[len(rows), len(rows[0])],
        contents=pb.InferTensorContents(fp32_contents=[value for row in rows for value in row]),
    )
    return pb.ModelInferRequest(model_name=model, inputs=[tensor])


def raw_output(response: pb.ModelInferResponse, index: int = 0, dtype: str = "<f4") -> Array:
    shape = list(response.outputs[index].shape)
    return np.frombuffer(response.raw_output_contents[index], dtype).reshape(shape)


async def infer(stub: Stub, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    return await stub.ModelInfer(request, timeout=DEADLINE)


async def load(stub: Stub, model: str) -> None:
    await stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=model), timeout=DEADLINE)


async def refusal_of(call: Awaitable[object]) -> tuple[grpc.StatusCode, str, str, list[str]]:
    """Return the code, message, reason and field paths of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    trailing = dict(failure.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(request)
    assert info.domain == "inference.GRPCInferenceService"
    fields = [violation.field for violation in request.field_violations]
    return failure.value.code(), failure.value.details() or "", info.reason, fields


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


async def test_a_forest_answers_as_scikit_learn_version_by_version(tmp_path: Path) -> None:
    for seed in (1, 2):
        models.write_version(tmp_path, "forest", seed, models.forest_model(seed))
    models.write_config(tmp_path, "forest", "max_batch_size: 64 version_policy { all { } }")
    rows = models.forest_rows(41, 9)
    async with serving(tmp_path) as stub:
        for version in ("1", "2"):
            request = raw_request("forest", rows, "X")
            request.model_version, request.id = version, "call-7"
            response = await infer(stub, request)
            assert (response.model_name, response.model_version, response.id) == ("forest", version, "call-7")
            assert list(response.outputs[0].shape) == [41, 1]
            expected = models.forest(int(version)).predict(rows)
            np.testing.assert_allclose(raw_output(response)[:, 0], expected, rtol=2e-6)
        assert (await infer(stub, raw_request("forest", rows, "X"))).model_version == "2"


async def test_raw_and_typed_inputs_give_identical_answers_in_their_own_form(tmp_path: Path) -> None:
    models.write_version(tmp_path, "forest", 1, models.forest_model(1))
    rows = models.forest_rows(20, 4)
    async with serving(tmp_path) as stub:
        raw = await infer(stub, raw_request("forest", rows, "X"))
        typed = await infer(stub, typed_request("forest", rows.tolist(), "X"))
    assert not typed.raw_output_contents
    assert not raw.outputs[0].HasField("contents")
    values = np.array(typed.outputs[0].contents.fp32_contents, "<f4")
    assert values.tobytes() == raw.raw_output_contents[0]
    assert (typed.outputs[0].datatype, typed.outputs[0].shape) == (
        raw.outputs[0].datatype,
        raw.outputs[0].shape,
    )


@pytest.mark.parametrize(
    ("kind", "datatype", "contents", "raw"),
    [
        (TensorProto.BOOL, "BOOL", {"bool_contents": [True, False]}, b"\x01\x00"),
        (TensorProto.INT8, "INT8", {"int_contents": [-1, 5]}, b"\xff\x05"),
        (TensorProto.INT32, "INT32", {"int_contents": [-1, 5]}, struct.pack("<2i", -1, 5)),
        (TensorProto.INT64, "INT64", {"int64_contents": [-(2**63), 5]}, struct.pack("<2q", -(2**63), 5)),
        (TensorProto.UINT16, "UINT16", {"uint_contents": [65535, 5]}, struct.pack("<2H", 65535, 5)),
        (TensorProto.UINT64, "UINT64", {"uint64_contents": [2**64 - 1, 5]}, struct.pack("<2Q", 2**64 - 1, 5)),
        (TensorProto.FLOAT, "FP32", {"fp32_contents": [0.5, -2.0]}, struct.pack("<2f", 0.5, -2.0)),
        (TensorProto.DOUBLE, "FP64", {"fp64_contents": [0.1, -2.0]}, struct.pack("<2d", 0.1, -2.0)),
        (
            TensorProto.STRING,
            "BYTES",
            {"bytes_contents": ["é".encode(), b""]},
            struct.pack("<I", 2) + "é".encode() + struct.pack("<I", 0),
        ),
    ],
)
async def test_each_datatype_travels_in_both_forms(
    tmp_path: Path, kind: int, datatype: str, contents: dict[str, Any], raw: bytes
) -> None:
    models.write_version(tmp_path, "same", 1, models.identity_model(kind))
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype=datatype, shape=[1, 2])
    async with serving(tmp_path) as stub:
        response = await infer(
            stub, pb.ModelInferRequest(model_name="same", inputs=[tensor], raw_input_contents=[raw])
        )
        assert list(response.raw_output_contents) == [raw]
        assert response.outputs[0].datatype == datatype
        tensor.contents.CopyFrom(pb.InferTensorContents(**contents))
        response = await infer(stub, pb.ModelInferRequest(model_name="same", inputs=[tensor]))
        assert response.outputs[0].contents == tensor.contents


async def test_half_precision_travels_raw_only(tmp_path: Path) -> None:
    models.write_version(tmp_path, "half", 1, models.identity_model(TensorProto.FLOAT16))
    raw = np.array([1.5, -2.0], "<f2").tobytes()
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP16", shape=[1, 2])
    async with serving(tmp_path) as stub:
        request = pb.ModelInferRequest(model_name="half", inputs=[tensor], raw_input_contents=[raw])
        assert list((await infer(stub, request)).raw_output_contents) == [raw]
        tensor.contents.fp32_contents.extend([1.5, -2.0])
        code, message, reason, _ = await refusal_of(
            stub.ModelInfer(pb.ModelInferRequest(model_name="half", inputs=[tensor]))
        )
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CONTENTS_MISMATCH")
    assert "input 'x' of FP16 must have raw_input_contents" in message


async def test_outputs_come_as_requested(tmp_path: Path) -> None:
    models.write_version(tmp_path, "two", 1, models.two_tensor_model())
    inputs = [
        pb.ModelInferRequest.InferInputTensor(
            name=name, datatype="INT64", shape=[1, 1], contents=pb.InferTensorContents(int64_contents=[value])
        )
        for name, value in (("b", 3), ("a", 5))
    ]
    output = pb.ModelInferRequest.InferRequestedOutputTensor
    async with serving(tmp_path) as stub:
        request = pb.ModelInferRequest(model_name="two", inputs=inputs, outputs=[output(name="difference")])
        response = await infer(stub, request)
        assert [(tensor.name, list(tensor.contents.int64_contents)) for tensor in response.outputs] == [
            ("difference", [2])
        ]
        request.outputs.append(output(name="sum"))
        code, message, _, fields = await refusal_of(stub.ModelInfer(request))
    assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["outputs[1].name"])
    assert "'sum'" in message


def hostile_requests() -> dict[str, tuple[pb.ModelInferRequest, grpc.StatusCode, str, list[str]]]:
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    good = np.ones((1, 2), np.float32)

    def shaped(*shape: int, raw: bytes = b"") -> pb.ModelInferRequest:
        request = raw_request("m", good)
        request.inputs[0].ClearField("shape")
        request.inputs[0].shape.extend(shape)
        request.raw_input_contents[0] = raw
        return request

    def edited(**changes: str) -> pb.ModelInferRequest:
        request = raw_request("m", good)
        for name, change in changes.items():
            setattr(request.inputs[0] if hasattr(request.inputs[0], name) else request, name, change)
        return request

    twice = raw_request("m", good)
    twice.inputs[0].contents.fp32_contents.append(1)
    two_kinds = typed_request("m", [[1.0, 2.0]])
    two_kinds.inputs[0].contents.int_contents.append(1)
    short = typed_request("m", [[1.0, 2.0]])
    short.inputs[0].contents.fp32_contents.pop()
    spare_raw = raw_request("m", good)
    spare_raw.raw_input_contents.append(b"")
    crowd = pb.ModelInferRequest(model_name="m", inputs=[typed_request("m", [[1.0, 2.0]]).inputs[0]] * 1025)
    sequence = raw_request("m", good)
    sequence.parameters["sequence_id"].int64_param = 3
    shared = raw_request("m", good)
    shared.inputs[0].parameters["shared_memory_region"].string_param = "r"
    classes = raw_request("m", good)
    classes.outputs.add(name="y").parameters["classification"].int64_param = 3
    return {
        "no model": (raw_request("", good), grpc.StatusCode.NOT_FOUND, "MODEL_UNKNOWN", []),
        "unknown model": (raw_request("n", good), grpc.StatusCode.NOT_FOUND, "MODEL_UNKNOWN", []),
        "path": (raw_request("../m", good), grpc.StatusCode.NOT_FOUND, "MODEL_UNKNOWN", []),
        "long name": (raw_request("n" * 1_000_000, good), grpc.StatusCode.NOT_FOUND, "MODEL_UNKNOWN", []),
        "unknown version": (edited(model_version="9"), grpc.StatusCode.NOT_FOUND, "VERSION_UNKNOWN", []),
        "odd version": (edited(model_version="01"), grpc.StatusCode.NOT_FOUND, "VERSION_UNKNOWN", []),
        "overflow": (shaped(2**32, 2**32), invalid, "SHAPE_MISMATCH", ["inputs[0].shape"]),
        "huge": (
            shaped(2**62, 2),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "BATCH_TOO_LARGE",
            ["inputs[0].shape"],
        ),
        "no contents": (shaped(4, 2), invalid, "CONTENTS_LENGTH", []),
        "negative": (shaped(-1, 2), invalid, "SHAPE_INVALID", ["inputs[0].shape"]),
        "two negatives": (shaped(-1, -2, raw=bytes(8)), invalid, "SHAPE_INVALID", ["inputs[0].shape"]),
        "no row": (shaped(0, 2), invalid, "SHAPE_INVALID", ["inputs[0].shape"]),
        "no shape": (shaped(raw=bytes(4)), invalid, "SHAPE_MISMATCH", ["inputs[0].shape"]),
        "dimensions": (shaped(*[1] * 1000, raw=bytes(4)), invalid, "SHAPE_INVALID", ["inputs[0].shape"]),
        "columns": (shaped(1, 3, raw=bytes(12)), invalid, "SHAPE_MISMATCH", ["inputs[0].shape"]),
        "length": (shaped(1, 2, raw=bytes(7)), invalid, "CONTENTS_LENGTH", []),
        "batch": (
            shaped(5, 2, raw=bytes(40)),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "BATCH_TOO_LARGE",
            ["inputs[0].shape"],
        ),
        "input name": (edited(name="q"), invalid, "INPUT_UNKNOWN", ["inputs[0].name"]),
        "datatype": (edited(datatype="FP64"), invalid, "DATATYPE_MISMATCH", ["inputs[0].datatype"]),
        "no datatype": (edited(datatype=""), invalid, "DATATYPE_UNKNOWN", ["inputs[0].datatype"]),
        "bf16": (edited(datatype="BF16"), invalid, "DATATYPE_UNKNOWN", ["inputs[0].datatype"]),
        "other type": (
            raw_request("m", np.ones((1, 2))),
            invalid,
            "DATATYPE_MISMATCH",
            ["inputs[0].datatype"],
        ),
        "no input": (pb.ModelInferRequest(model_name="m"), invalid, "INPUT_MISSING", ["inputs"]),
        "raw and typed": (twice, invalid, "CONTENTS_TWICE", ["inputs[0].contents"]),
        "two kinds": (two_kinds, invalid, "CONTENTS_MISMATCH", ["inputs[0].contents"]),
        "short": (short, invalid, "CONTENTS_LENGTH", []),
        "spare raw": (spare_raw, invalid, "RAW_CONTENTS_COUNT", ["raw_input_contents"]),
        "crowd": (crowd, invalid, "TOO_MANY_INPUTS", ["inputs"]),
        "sequence": (sequence, invalid, "PARAMETER_REFUSED", []),
        "shared memory": (shared, invalid, "PARAMETER_REFUSED", []),
        "classification": (classes, invalid, "PARAMETER_REFUSED", []),
    }


@pytest.mark.parametrize("case", sorted(hostile_requests()))
async def test_a_wrong_request_gets_its_own_status_and_the_server_goes_on(tmp_path: Path, case: str) -> None:
    models.write_version(tmp_path, "m", 1, models.scale_model(2.0))
    models.write_config(tmp_path, "m", "max_batch_size: 4")
    request, code, reason, fields = hostile_requests()[case]
    async with serving(tmp_path) as stub:
        given = await refusal_of(stub.ModelInfer(request, timeout=DEADLINE))
        assert (given[0], given[2], given[3]) == (code, reason, fields), given
        assert str(tmp_path) not in given[1]
        assert len(given[1]) < 500
        good = await infer(stub, raw_request("m", np.ones((4, 2), np.float32)))
        assert raw_output(good).tolist() == [[2.0, 2.0]] * 4


async def test_a_hint_among_the_parameters_is_ignored(tmp_path: Path) -> None:
    models.write_version(tmp_path, "m", 1, models.scale_model(2.0))
    request = raw_request("m", np.ones((1, 2), np.float32))
    request.parameters["priority"].int64_param = 3
    async with serving(tmp_path) as stub:
        assert raw_output(await infer(stub, request)).tolist() == [[2.0, 2.0]]


async def test_a_message_over_the_limit_is_refused_and_one_below_is_taken(tmp_path: Path) -> None:
    models.write_version(tmp_path, "m", 1, models.scale_model(2.0))
    async with serving(tmp_path, {"max_message_bytes": 100_000}) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await infer(stub, raw_request("m", np.ones((15_000, 2), np.float32)))
        assert refusal.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        response = await infer(stub, raw_request("m", np.ones((12_000, 2), np.float32)))
        assert raw_output(response).shape == (12_000, 2)


async def test_an_answer_over_the_limit_is_refused_and_the_server_goes_on(tmp_path: Path) -> None:
    models.write_version(tmp_path, "wide", 1, models.widening_model(1000))
    async with serving(tmp_path, {"max_message_bytes": 100_000}) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await infer(stub, raw_request("wide", np.ones((100, 1), np.float32)))
        assert refusal.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        response = await infer(stub, raw_request("wide", np.ones((10, 1), np.float32)))
        assert raw_output(response).shape == (10, 1000)


async def test_a_model_that_fails_tells_the_client_nothing_of_its_inside(tmp_path: Path) -> None:
    models.write_version(tmp_path, "m", 1, models.reshape_model())
    request = raw_request("m", np.ones(3, np.float32))
    async with serving(tmp_path) as stub:
        code, message, reason, _ = await refusal_of(stub.ModelInfer(request))
        assert (code, reason) == (grpc.StatusCode.INTERNAL, "INFERENCE_FAILED")
        assert message == "the model failed to compute an answer"


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
        for version in range(2, 22):
            models.write_version(tmp_path, "m", version, models.scale_model(float(version)))
            await load(stub, "m")
            seen = len(answers)
            while len(answers) < seen + 32:  # some answers of each version
                await asyncio.sleep(0)
                assert not any(task.done() for task in asking)
        done.set()
        await asyncio.gather(*asking)
    assert set(answers) == set(range(1, 22))


async def test_a_long_inference_survives_the_unloading_of_its_model(tmp_path: Path) -> None:
    models.write_version(tmp_path, "heavy", 1, models.heavy_model())
    rows = np.random.default_rng(1).random((500, 256)).astype(np.float32)
    async with serving(tmp_path) as stub:
        calls = [asyncio.create_task(infer(stub, raw_request("heavy", rows))) for _ in range(4)]
        while (
            not (await stub.ModelStatistics(pb.ModelStatisticsRequest(name="heavy")))
            .model_stats[0]
            .execution_count
        ):
            await asyncio.sleep(0.001)
        await stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="heavy"))
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


@pytest.mark.parametrize("method", ["ModelMetadata", "ModelConfig", "ModelStatistics"])
async def test_an_unknown_model_or_version_is_not_found(tmp_path: Path, method: str) -> None:
    models.write_version(tmp_path, "m", 1, models.scale_model(1.0))
    request = getattr(pb, f"{method}Request")
    async with serving(tmp_path) as stub:
        for name, version, reason in (("n", "", "MODEL_UNKNOWN"), ("m", "7", "VERSION_UNKNOWN")):
            given = await refusal_of(getattr(stub, method)(request(name=name, version=version)))
            assert (given[0], given[2]) == (grpc.StatusCode.NOT_FOUND, reason)


async def test_statistics_count_what_was_asked(tmp_path: Path) -> None:
    for name in ("a", "b"):
        models.write_version(tmp_path, name, 1, models.scale_model(1.0))
        models.write_config(tmp_path, name, "max_batch_size: 8")
    async with serving(tmp_path) as stub:
        for rows in (1, 4, 4):
            await infer(stub, raw_request("a", np.ones((rows, 2), np.float32)))
        await refusal_of(stub.ModelInfer(raw_request("a", np.ones((1, 3), np.float32))))
        (a,) = (await stub.ModelStatistics(pb.ModelStatisticsRequest(name="a", version="1"))).model_stats
        assert (a.name, a.version, a.inference_count, a.execution_count) == ("a", "1", 9, 3)
        assert (a.inference_stats.success.count, a.inference_stats.fail.count) == (3, 1)
        assert a.inference_stats.compute_infer.ns > 0
        assert [(batch.batch_size, batch.compute_infer.count) for batch in a.batch_stats] == [(1, 1), (4, 2)]
        assert not a.inference_stats.HasField("compute_output")
        both = (await stub.ModelStatistics(pb.ModelStatisticsRequest())).model_stats
        assert [statistics.name for statistics in both] == ["a", "b"]


async def test_polling_serves_a_model_that_appears_and_goes_on_after_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.model_server.layout import Layout

    whole, troubles = Layout.list_models, [OSError("lost"), OSError("lost")]

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
