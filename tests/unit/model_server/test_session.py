from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from services.common.errors import FailedPreconditionError, InternalError, InvalidArgumentError
from services.model_server.session import Session
from services.model_server.tensors import DATATYPES
from tests.unit.model_server import models


def open_session(folder: Path, content: bytes, threads: int = 1) -> Session:
    path = folder / "model.onnx"
    path.write_bytes(content)
    return Session(path, threads=threads)


def test_a_forest_answers_as_scikit_learn(tmp_path: Path) -> None:
    session = open_session(tmp_path, models.forest_model(1))
    rows = models.forest_rows(50, 2)
    (answer,) = session.run({"X": rows}, ["variable"])
    np.testing.assert_allclose(answer[:, 0], models.forest(1).predict(rows), rtol=2e-6)
    assert session.inputs[0].shape == (-1, 7)
    assert session.outputs[0].datatype is DATATYPES["FP32"]


@pytest.mark.parametrize(
    "kind",
    [
        TensorProto.BOOL,
        TensorProto.UINT8,
        TensorProto.UINT64,
        TensorProto.INT8,
        TensorProto.INT32,
        TensorProto.INT64,
        TensorProto.FLOAT16,
        TensorProto.FLOAT,
        TensorProto.DOUBLE,
    ],
)
def test_tensors_of_each_datatype_pass_through(tmp_path: Path, kind: int) -> None:
    session = open_session(tmp_path, models.identity_model(kind))
    array = np.array([[1, 0]], dtype=session.inputs[0].datatype.dtype)
    (answer,) = session.run({"x": array}, ["y"])
    assert answer.dtype == array.dtype
    np.testing.assert_array_equal(answer, array)


def test_text_passes_through(tmp_path: Path) -> None:
    session = open_session(tmp_path, models.identity_model(TensorProto.STRING))
    array = np.array([["é", ""]], dtype=object)
    (answer,) = session.run({"x": array}, ["y"])
    assert answer.tolist() == [["é", ""]]


def test_a_named_size_is_a_free_one(tmp_path: Path) -> None:
    session = open_session(tmp_path, models.identity_model(TensorProto.FLOAT, ["rows", 2]))
    assert session.inputs[0].shape == (-1, 2)


@pytest.mark.parametrize("content", [b"", b"garbage" * 100, models.scale_model(2.0)[:-20]])
def test_a_file_that_is_no_model_is_refused_without_a_path(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(FailedPreconditionError) as refusal:
        open_session(tmp_path, content)
    assert refusal.value.message == "the model file cannot be loaded"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FailedPreconditionError, match="cannot be loaded"):
        Session(tmp_path / "model.onnx", threads=1)


def test_an_output_that_is_no_tensor_is_refused_by_name(tmp_path: Path) -> None:
    rows = models.forest_rows(20, 1)
    classifier = LogisticRegression().fit(rows, np.arange(20) % 2)
    content = to_onnx(classifier, rows[:1]).SerializeToString()  # its probabilities are a sequence of maps
    with pytest.raises(FailedPreconditionError, match="output 'output_probability' is a seq") as refusal:
        open_session(tmp_path, content)
    assert refusal.value.reason == "MODEL_FILE_UNSUPPORTED"


def test_a_datatype_that_python_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FailedPreconditionError, match=r"input 'x' is a tensor\(bfloat16\)"):
        open_session(tmp_path, models.identity_model(TensorProto.BFLOAT16))


def test_values_that_the_model_refuses_are_the_callers_fault(tmp_path: Path) -> None:
    session = open_session(tmp_path, models.lookup_model())
    with pytest.raises(InvalidArgumentError) as refusal:
        session.run({"index": np.array([5])}, ["y"])
    assert refusal.value.message == "the model does not take these values"


def test_a_model_that_fails_says_nothing_of_its_inside(tmp_path: Path) -> None:
    session = open_session(tmp_path, models.reshape_model())
    with pytest.raises(InternalError) as failure:
        session.run({"x": np.zeros(3, np.float32)}, ["y"])
    assert failure.value.reason == "INFERENCE_FAILED"
    assert "Reshape" not in failure.value.message


def test_a_models_data_may_lie_in_a_file_beside_it(tmp_path: Path) -> None:
    model = onnx.load_from_string(models.scale_model(3.0))
    factor = model.graph.initializer[0]
    factor.CopyFrom(
        helper.make_tensor("factor", TensorProto.FLOAT, [1], np.array([3], "<f4").tobytes(), raw=True)
    )
    onnx.external_data_helper.set_external_data(factor, "factor.bin")
    onnx.save(model, tmp_path / "model.onnx")
    session = Session(tmp_path / "model.onnx", threads=1)
    (answer,) = session.run({"x": np.ones((1, 2), np.float32)}, ["y"])
    assert answer.tolist() == [[3.0, 3.0]]


def test_a_models_data_may_not_lie_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(np.array([3], "<f4").tobytes())
    model = onnx.load_from_string(models.scale_model(3.0))
    factor = model.graph.initializer[0]
    factor.ClearField("float_data")
    factor.data_location = TensorProto.EXTERNAL
    factor.external_data.add(key="location", value="../secret.bin")
    (tmp_path / "1").mkdir()
    with pytest.raises(FailedPreconditionError, match="cannot be loaded"):
        open_session(tmp_path / "1", model.SerializeToString())
