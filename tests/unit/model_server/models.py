"""Tiny real ONNX models and repositories for the model server's tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestRegressor

FORESTS: dict[int, RandomForestRegressor] = {}


def build_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto] = (),
) -> bytes:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def value(name: str, kind: int, shape: Sequence[int | str | None]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def scale_model(factor: float, columns: int = 2) -> bytes:
    """y = x * factor, for rows of `columns` floats."""
    return build_model(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [value("x", TensorProto.FLOAT, [None, columns])],
        [value("y", TensorProto.FLOAT, [None, columns])],
        [helper.make_tensor("factor", TensorProto.FLOAT, [], [factor])],
    )


def identity_model(kind: int, shape: Sequence[int | str | None] = (None, 2)) -> bytes:
    return build_model(
        [helper.make_node("Identity", ["x"], ["y"])], [value("x", kind, shape)], [value("y", kind, shape)]
    )


def two_tensor_model() -> bytes:
    """total = a + b and difference = a - b, of int64 vectors."""
    kind = TensorProto.INT64
    return build_model(
        [
            helper.make_node("Add", ["a", "b"], ["total"]),
            helper.make_node("Sub", ["a", "b"], ["difference"]),
        ],
        [value("a", kind, [None, 1]), value("b", kind, [None, 1])],
        [value("total", kind, [None, 1]), value("difference", kind, [None, 1])],
    )


def lookup_model() -> bytes:
    """y = table[index], which fails for an index outside the table."""
    return build_model(
        [helper.make_node("Gather", ["table", "index"], ["y"], axis=0)],
        [value("index", TensorProto.INT64, [None])],
        [value("y", TensorProto.FLOAT, [None])],
        [helper.make_tensor("table", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])],
    )


def reshape_model() -> bytes:
    """y = x as rows of two, which fails for an odd number of elements."""
    return build_model(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [value("x", TensorProto.FLOAT, [None])],
        [value("y", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 2])],
    )


def first_row_model() -> bytes:
    """y = the first row of x, however many there are."""
    return build_model(
        [helper.make_node("Compress", ["x", "first"], ["y"], axis=0)],
        [value("x", TensorProto.FLOAT, [None, 2])],
        [value("y", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor("first", TensorProto.BOOL, [1], [True])],
    )


def twice_model() -> bytes:
    """y = the rows of x, and then once more."""
    return build_model(
        [helper.make_node("Concat", ["x", "x"], ["y"], axis=0)],
        [value("x", TensorProto.FLOAT, [None, 2])],
        [value("y", TensorProto.FLOAT, ["twice", 2])],
    )


def squeezing_model() -> bytes:
    """y = x without dimensions of size 1: of one row a number, not a vector."""
    return build_model(
        [helper.make_node("Squeeze", ["x"], ["y"])],
        [value("x", TensorProto.FLOAT, [None, 1])],
        [value("y", TensorProto.FLOAT, [None])],
    )


def broken_model() -> bytes:
    """Loads, and fails on every input: reshaped to one row and one column more than it has."""
    return build_model(
        [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Add", ["shape", "one"], ["larger"]),
            helper.make_node("Reshape", ["x", "larger"], ["y"]),
        ],
        [value("x", TensorProto.FLOAT, [None, 2])],
        [value("y", TensorProto.FLOAT, [None, None])],
        [helper.make_tensor("one", TensorProto.INT64, [1], [1])],
    )


def widening_model(times: int) -> bytes:
    """y = x, each row `times` times beside itself."""
    return build_model(
        [helper.make_node("Tile", ["x", "repeats"], ["y"])],
        [value("x", TensorProto.FLOAT, [None, 1])],
        [value("y", TensorProto.FLOAT, [None, times])],
        [helper.make_tensor("repeats", TensorProto.INT64, [2], [1, times])],
    )


def heavy_model(rounds: int = 30, width: int = 256) -> bytes:
    """Rows of `width` floats through `rounds` matrix products: some milliseconds for some rows."""
    nodes = [
        helper.make_node("MatMul", [f"h{index}" if index else "x", "weights"], [f"h{index + 1}"])
        for index in range(rounds)
    ]
    nodes.append(helper.make_node("Identity", [f"h{rounds}"], ["y"]))
    weights = (np.eye(width, dtype=np.float32)).reshape(-1)
    return build_model(
        nodes,
        [value("x", TensorProto.FLOAT, [None, width])],
        [value("y", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor("weights", TensorProto.FLOAT, [width, width], weights)],
    )


def forest(seed: int) -> RandomForestRegressor:
    """A small forest of seven features, fitted once per seed."""
    if seed not in FORESTS:
        rows, target = forest_rows(300, seed), np.random.default_rng(seed + 1).random(300)
        FORESTS[seed] = RandomForestRegressor(10, max_depth=5, random_state=seed).fit(rows, target)
    return FORESTS[seed]


def forest_rows(count: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.random.default_rng(seed).random((count, 7)).astype(np.float32)


def forest_model(seed: int) -> bytes:
    content: bytes = to_onnx(forest(seed), forest_rows(1, seed)).SerializeToString()
    return content


def write_version(root: Path, model: str, version: int, content: bytes) -> None:
    """Write a version as a publisher does: aside, then renamed, so that nobody sees half of it."""
    folder = root / model
    staging = folder / f".{version}"
    staging.mkdir(parents=True)
    (staging / "model.onnx").write_bytes(content)
    staging.rename(folder / str(version))


def write_config(root: Path, model: str, text: str) -> None:
    (root / model).mkdir(parents=True, exist_ok=True)
    (root / model / "config.pbtxt").write_text(text)
