from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from services.common.errors import FailedPreconditionError
from services.model_server.layout import Layout
from services.model_server.loading import LoadedModel, Loader
from tests.unit.model_server import models


def load(root: Path, content: bytes, config: str = "") -> LoadedModel:
    models.write_version(root, "m", 1, content)
    models.write_config(root, "m", config)
    return Loader(Layout(root=root), threads=1).load("m", None, stand_in=False)


def warmup(inputs: str, batch_size: int = 0, count: int = 0) -> str:
    return f'model_warmup {{ name: "w" batch_size: {batch_size} count: {count} inputs {{ {inputs} }} }}'


def test_a_float_model_is_warmed_up_by_zeros_so_that_its_cost_is_known(tmp_path: Path) -> None:
    version = load(tmp_path, models.scale_model(2.0), "max_batch_size: 8").versions["1"]
    assert version.costs.expected_ns(2) is not None
    assert version.statistics.success.count == 0


@pytest.mark.parametrize(
    "content",
    [
        models.scale_model(2.0),
        models.lookup_model(),
        models.identity_model(TensorProto.STRING),
    ],
)
def test_a_model_for_which_zeros_may_be_wrong_is_not_warmed_up_unasked(
    tmp_path: Path, content: bytes
) -> None:
    assert load(tmp_path, content).versions["1"].costs.expected_ns(1 << 20) is None


def test_a_model_that_fails_on_zeros_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FailedPreconditionError, match="fails on its warm-up") as refusal:
        load(tmp_path, models.broken_model(), "max_batch_size: 8")
    assert refusal.value.reason == "MODEL_WARMUP_FAILED"


@pytest.mark.parametrize("data", ["zero_data: true", "random_data: true"])
def test_a_model_is_warmed_up_as_its_config_says(tmp_path: Path, data: str) -> None:
    sample = f'key: "x" value {{ data_type: TYPE_FP32 dims: [ 2 ] {data} }}'
    model = load(tmp_path, models.scale_model(2.0), "max_batch_size: 8 " + warmup(sample, 4, 3))
    assert model.versions["1"].costs.expected_ns(8) is not None
    assert model.versions["1"].costs.expected_ns(2) is None


def test_text_is_warmed_up_with_empty_text(tmp_path: Path) -> None:
    sample = 'key: "x" value { data_type: TYPE_STRING dims: [ 3, 2 ] zero_data: true }'
    model = load(tmp_path, models.identity_model(TensorProto.STRING), warmup(sample))
    assert model.versions["1"].costs.expected_ns(6) is not None


@pytest.mark.parametrize(
    ("config", "what"),
    [
        (warmup('key: "q" value { }'), "leaves out input 'x'"),
        (warmup('key: "x" value { data_type: TYPE_FP32 dims: [ 1, 3 ] zero_data: true }'), "shape"),
        (warmup('key: "x" value { data_type: TYPE_FP32 dims: [ 0, 2 ] zero_data: true }'), "shape"),
        (warmup('key: "x" value { data_type: TYPE_FP64 dims: [ 1, 2 ] zero_data: true }'), "TYPE_FP64"),
        (warmup('key: "x" value { data_type: TYPE_FP32 dims: [ 1, 2 ] input_data_file: "f" }'), "a file"),
        (
            warmup('key: "x" value { data_type: TYPE_FP32 dims: [ 1000000000, 2 ] zero_data: true }'),
            "more than 16777216 elements",
        ),
        (
            warmup('key: "x" value { data_type: TYPE_FP32 dims: [ 1, 2 ] zero_data: true }', 0, 2_000_000),
            "2000000 runs",
        ),
    ],
)
def test_a_warm_up_that_cannot_be_done_is_refused(tmp_path: Path, config: str, what: str) -> None:
    with pytest.raises(FailedPreconditionError, match=what):
        load(tmp_path, models.scale_model(2.0), config)


def test_the_configs_filename_is_the_one_that_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "forest.onnx").write_bytes(models.scale_model(6.0))
    models.write_config(tmp_path, "m", 'default_model_filename: "forest.onnx"')
    version = Loader(Layout(root=tmp_path), threads=1).load("m", None, stand_in=False).versions["1"]
    (answer,) = version.session.run({"x": np.ones((1, 2), np.float32)}, ["y"])
    assert answer[0, 0] == 6.0


@pytest.mark.parametrize(
    ("content", "what"), [(b"\xff\xfe", "not UTF-8"), (b"#" * (1024 * 1024 + 1), "longer than 1048576")]
)
def test_a_config_that_is_no_text_of_its_kind_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    models.write_version(tmp_path, "m", 1, models.scale_model(1.0))
    (tmp_path / "m" / "config.pbtxt").write_bytes(content)
    with pytest.raises(FailedPreconditionError, match=what):
        Loader(Layout(root=tmp_path), threads=1).load("m", None, stand_in=True)
