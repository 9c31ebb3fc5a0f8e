import threading
from pathlib import Path

import numpy as np
import pytest

from services.common.errors import (
    DomainError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from services.model_server.data_plane import InferenceRequest
from services.model_server.tensors import BY_ONNX_NAME, DATATYPES, Array, InputTensor
from tests.unit.model_server import models
from tests.unit.model_server.plane import input_tensor, ones, open_plane

BATCHED = "max_batch_size: 4"


async def test_the_answer_names_the_version_and_gives_all_outputs(tmp_path: Path) -> None:
    plane = await open_plane(tmp_path, models.two_tensor_model())
    answer = await plane.infer({"a": np.array([[5], [1]]), "b": np.array([[3], [9]])})
    assert (answer.model, answer.version) == ("m", "1")
    assert [(tensor.name, tensor.array.tolist()) for tensor in answer.outputs] == [
        ("total", [[8], [10]]),
        ("difference", [[2], [-8]]),
    ]
    assert answer.outputs[0].datatype is BY_ONNX_NAME["tensor(int64)"]


async def test_outputs_come_as_asked_for(tmp_path: Path) -> None:
    plane = await open_plane(tmp_path, models.two_tensor_model())
    a, b = np.array([[5]]), np.array([[3]])
    answer = await plane.infer({"a": a, "b": b}, ["difference"])
    assert [tensor.name for tensor in answer.outputs] == ["difference"]
    answer = await plane.infer({"a": a, "b": b}, ["difference", "total"])
    assert [tensor.array.item() for tensor in answer.outputs] == [2, 8]


@pytest.mark.parametrize(
    ("outputs", "field", "what"),
    [
        (["total", "sum"], "outputs[1].name", "no output 'sum'; it has total, difference"),
        (["total", "total"], "outputs[1].name", "'total' is asked for twice"),
    ],
)
async def test_outputs_that_cannot_be_given_are_refused(
    tmp_path: Path, outputs: list[str], field: str, what: str
) -> None:
    plane = await open_plane(tmp_path, models.two_tensor_model())
    with pytest.raises(InvalidArgumentError, match=what) as refusal:
        await plane.infer({"a": np.array([[5]]), "b": np.array([[3]])}, outputs)
    assert refusal.value.violations[0].field == field


@pytest.mark.parametrize(
    ("inputs", "reason", "field", "what"),
    [
        ({}, "INPUT_MISSING", "inputs", "input 'x' is missing"),
        ({"q": ones(1, 2)}, "INPUT_UNKNOWN", "inputs[0].name", "no input 'q'; it has x"),
        ({"x": ones(1, 2), "q": ones(1)}, "INPUT_UNKNOWN", "inputs[1].name", "no input 'q'"),
        (
            {"x": np.ones((1, 2))},
            "DATATYPE_MISMATCH",
            "inputs[0].datatype",
            "input 'x' is FP64; the model takes FP32",
        ),
        (
            {"x": ones(3, 5)},
            "SHAPE_MISMATCH",
            "inputs[0].shape",
            "input 'x' has shape [3, 5]; the model takes [-1, 2]",
        ),
        ({"x": ones(2)}, "SHAPE_MISMATCH", "inputs[0].shape", "[2]"),
    ],
)
async def test_wrong_inputs_are_refused_by_name(
    tmp_path: Path, inputs: dict[str, Array], reason: str, field: str, what: str
) -> None:
    plane = await open_plane(tmp_path, models.scale_model(2.0), BATCHED)
    refusal = await plane.refusal(inputs)
    assert isinstance(refusal, InvalidArgumentError)
    assert refusal.reason == reason
    assert refusal.violations[0].field == field
    assert what in refusal.message


async def test_an_input_given_twice_is_refused(tmp_path: Path) -> None:
    plane = await open_plane(tmp_path, models.scale_model(2.0))
    tensor = input_tensor("x", ones(1, 2))
    request = InferenceRequest(model="m", version="", inputs=[tensor, tensor], outputs=[], received_ns=0)
    with pytest.raises(InvalidArgumentError, match="'x' is given twice"):
        await plane.plane.infer(request)


@pytest.mark.parametrize(("config", "most"), [(BATCHED, 4), ("", 100), ("max_batch_size: 1000", 100)])
async def test_more_rows_than_the_model_or_the_server_allows_are_refused(
    tmp_path: Path, config: str, most: int
) -> None:
    plane = await open_plane(tmp_path, models.scale_model(2.0), config)
    assert len((await plane.infer({"x": ones(most, 2)})).outputs[0].array) == most
    refusal = await plane.refusal({"x": ones(most + 1, 2)})
    assert isinstance(refusal, ResourceExhaustedError)
    assert refusal.reason == "BATCH_TOO_LARGE"
    assert refusal.metadata == {"max_batch_size": str(most)}
    assert refusal.message == f"input 'x' has {most + 1} rows; at most {most} are taken"


async def test_inputs_of_a_batch_have_the_same_rows(tmp_path: Path) -> None:
    plane = await open_plane(tmp_path, models.two_tensor_model(), BATCHED)
    refusal = await plane.refusal({"a": np.ones((2, 1), np.int64), "b": np.ones((1, 1), np.int64)})
    assert refusal.reason == "BATCH_MISMATCH"


async def test_nan_and_infinity_are_values_like_others(tmp_path: Path) -> None:
    plane = await open_plane(tmp_path, models.scale_model(2.0))
    answer = await plane.infer({"x": np.array([[np.nan, np.inf]], np.float32)})
    np.testing.assert_array_equal(answer.outputs[0].array, [[np.nan, np.inf]])


async def test_the_first_request_and_the_next_are_equal_wherever_they_run(tmp_path: Path) -> None:
    plane = await open_plane(tmp_path, models.forest_model(1))
    rows = models.forest_rows(90, 3)
    expected = models.forest(1).predict(rows)
    for count in (1, 90, 90, 1):
        answer = await plane.infer({"X": rows[:count]})
        np.testing.assert_allclose(answer.outputs[0].array[:, 0], expected[:count], rtol=2e-6)


async def test_successes_and_failures_are_counted_with_their_rows(tmp_path: Path) -> None:
    plane = await open_plane(tmp_path, models.scale_model(2.0), BATCHED)
    for rows in (1, 3, 3):
        await plane.infer({"x": ones(rows, 2)})
    await plane.refusal({"x": ones(1, 3)})
    statistics = plane.repository.find("m").statistics
    assert statistics.inference_count == 7
    assert statistics.execution_count == 3
    assert statistics.fail.count == 1
    assert {rows: batch.compute_infer.count for rows, batch in statistics.by_batch_size.items()} == {
        1: 1,
        3: 2,
    }
    phases = (statistics.queue, statistics.compute_input, statistics.compute_infer)
    assert statistics.success.ns == sum(phase.ns for phase in phases)
    assert statistics.last_inference_ms > 0


async def test_a_model_without_a_batch_counts_requests(tmp_path: Path) -> None:
    plane = await open_plane(tmp_path, models.scale_model(2.0))
    await plane.infer({"x": ones(5, 2)})
    assert plane.repository.find("m").statistics.inference_count == 1


async def test_a_failing_model_is_counted_and_named_as_such(tmp_path: Path) -> None:
    plane = await open_plane(tmp_path, models.reshape_model())
    refusal = await plane.refusal({"x": ones(3)})
    assert isinstance(refusal, InternalError)
    assert plane.repository.find("m").statistics.fail.count == 1
    assert (await plane.infer({"x": ones(4)})).outputs[0].array.shape == (2, 2)


async def test_an_unknown_model_is_not_found(tmp_path: Path) -> None:
    plane = await open_plane(tmp_path, models.scale_model(2.0))
    with pytest.raises(NotFoundError):
        await plane.plane.infer(InferenceRequest(model="n", version="", inputs=[], outputs=[], received_ns=0))


async def test_an_input_of_the_wrong_kind_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    def decode() -> Array:
        raise AssertionError("decoded")

    plane = await open_plane(tmp_path, models.scale_model(2.0))
    for datatype, shape in (("BYTES", (1, 2)), ("FP32", (1, 3)), ("FP32", (101, 2))):
        tensor = InputTensor(name="x", datatype=DATATYPES[datatype], shape=shape, decode=decode)
        with pytest.raises(DomainError):
            await plane.plane.infer(
                InferenceRequest(model="m", version="", inputs=[tensor], outputs=[], received_ns=0)
            )


async def test_what_may_take_long_is_decoded_where_the_model_runs(tmp_path: Path) -> None:
    threads: list[int] = []

    def decode() -> Array:
        threads.append(threading.get_ident())
        return ones(1, 2)

    plane = await open_plane(tmp_path, models.scale_model(2.0))
    tensor = InputTensor(name="x", datatype=DATATYPES["FP32"], shape=(1, 2), decode=decode)
    await plane.plane.infer(
        InferenceRequest(model="m", version="", inputs=[tensor], outputs=[], received_ns=0)
    )
    assert threads
    assert threads[0] != threading.get_ident()
