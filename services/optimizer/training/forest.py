"""The conversion forest: fitting, importance, export to ONNX, and proof that the export says the same."""

from collections.abc import Callable
from typing import Final

import numpy as np
import onnx
import onnxruntime
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

from services.optimizer.domain.features import FEATURE_NAMES, Float32Array, FloatArray
from services.optimizer.domain.models.version import INPUT_NAME, OUTPUT_NAME, Importance
from services.optimizer.training.backend import LOCAL, Backend

TREES: Final = 100
DEPTH: Final = 10
LARGEST_SAMPLE: Final = 60_000
"""Rows each tree draws at most by default: of a million, ten times faster for the same R² (benchmarks)."""
SMALLEST_LEAF: Final = 5
_TREES_PER_STEP: Final = 10
_IMPORTANCE_ROWS: Final = 5_000
_IMPORTANCE_REPEATS: Final = 5
_SEED: Final = 20_240_101
_OPSET: Final = {"": 15, "ai.onnx.ml": 3}
"""Old enough for every ONNX Runtime that a model server of the last years brings along."""
_IR_VERSION: Final = 8
_GRAPH_NAME: Final = "conversion"
"""Given, because the default is drawn anew for every export."""


def fit_forest(
    features: Float32Array,
    rates: FloatArray,
    views: FloatArray,
    *,
    on_progress: Callable[[float], None],
    max_samples: int = LARGEST_SAMPLE,
    trees: int = TREES,
    backend: Backend = LOCAL,
) -> RandomForestRegressor:
    """Return the forest fitted on rates weighted by views; the same from the same rows in the same order.

    Asked, it adds its trees up in one thread: several add in the order in which they happen to end.

    Args:
        features: one row per rate, C-contiguous.
        rates: what to learn, (rows,).
        views: the rows' weights.
        on_progress: hears the share of trees grown.
        max_samples: rows that each tree draws at most.
        trees: how many are grown, a multiple of ten.
        backend: where the trees grow; the same trees everywhere.
    """
    forest = RandomForestRegressor(
        n_estimators=0,
        max_depth=DEPTH,
        min_samples_leaf=SMALLEST_LEAF,
        max_samples=max_samples if len(features) > max_samples else None,
        random_state=_SEED,
        n_jobs=-1,
        warm_start=True,  # grows the same trees as one call would
    )
    with backend.parallel(features):
        for grown in range(_TREES_PER_STEP, trees + 1, _TREES_PER_STEP):
            forest.set_params(n_estimators=grown)
            forest.fit(features, rates, sample_weight=views)
            on_progress(grown / trees)
    forest.set_params(n_jobs=1)
    return forest


def measure_importance(
    forest: RandomForestRegressor, features: Float32Array, rates: FloatArray, views: FloatArray
) -> tuple[Importance, ...]:
    """Return each feature's importance on held-out rows (a sample of them), most important first."""
    generator = np.random.default_rng(_SEED)
    rows = generator.permutation(len(features))[:_IMPORTANCE_ROWS]
    measured = permutation_importance(
        forest,
        features[rows],
        rates[rows],
        sample_weight=views[rows],
        n_repeats=_IMPORTANCE_REPEATS,
        random_state=_SEED,
    )
    importances = [
        Importance(
            feature_name=name,
            permutation=float(measured.importances_mean[index]),
            impurity=float(forest.feature_importances_[index]),
        )
        for index, name in enumerate(FEATURE_NAMES)
    ]
    return tuple(sorted(importances, key=lambda importance: -importance.permutation))


def export_forest(forest: RandomForestRegressor) -> bytes:
    """Return the forest as ONNX: `features` FP32 [n, columns] in, `conversion_rate` FP32 [n, 1] out."""
    inputs = [(INPUT_NAME, FloatTensorType([None, forest.n_features_in_]))]
    model = convert_sklearn(forest, name=_GRAPH_NAME, initial_types=inputs, target_opset=_OPSET)
    output = model.graph.output[0]
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            if name == output.name:
                node.output[index] = OUTPUT_NAME
    output.name = OUTPUT_NAME
    model.ir_version = _IR_VERSION
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class ExportedForest:
    """An exported forest, as ONNX Runtime computes it in the training process."""

    def __init__(self, model: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def predict(self, features: Float32Array) -> FloatArray:
        """Return the rates (rows,) of `features` (rows, 7)."""
        (rates,) = self._session.run([OUTPUT_NAME], {INPUT_NAME: features})
        return np.asarray(rates, dtype=np.float64).reshape(-1)


def read_forest(content: bytes | None) -> ExportedForest | None:
    """Return a forest that was kept; None where its file is gone or broken, and so cannot serve either."""
    if content is None:
        return None
    try:
        return ExportedForest(content)
    except Exception:  # noqa: BLE001 (ONNX Runtime's errors share no base class)
        return None


def measure_parity(forest: RandomForestRegressor, exported: ExportedForest, features: Float32Array) -> float:
    """Return the largest relative difference between the exported and the trained forest on `features`."""
    trained = np.asarray(forest.predict(features), dtype=np.float64)
    difference = np.abs(exported.predict(features) - trained)
    return float(np.max(difference / np.maximum(np.abs(trained), np.finfo(np.float32).tiny)))
