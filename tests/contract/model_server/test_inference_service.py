"""Every RPC of the model server but loading, over a real in-process server and a real stub."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from onnx import TensorProto

from gen.inference import grpc_service_pb2 as pb
from tests.contract.model_server.inference_stand import (
    DEADLINE,
    infer,
    raw_output,
    raw_request,
    refusal_of,
    serving,
)
from tests.unit.model_server import models


def typed_request(model: str, rows: Sequence[Sequence[float]], name: str = "x") -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(
        name=name,
        datatype="FP32",
        shape=[len(rows), len(rows[0])],
        contents=pb.InferTensorContents(fp32_contents=[value for row in rows for value in row]),
    )
    return pb.ModelInferRequest(model_name=model, inputs=[tensor])


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
