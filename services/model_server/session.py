"""One ONNX file, loaded: ONNX Runtime behind a few names, its errors in our words, its threads pinned."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from services.common.errors import (
    DomainError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
)
from services.common.telemetry import get_logger
from services.model_server.tensors import BY_ONNX_NAME, Array, TensorSpec

_log = get_logger("session")
_PROVIDERS = ["CPUExecutionProvider"]
_NOTHING_BUT_FATAL = 4  # what goes wrong is raised, and logged here


class Session:
    """A loaded model file; safe to run from several threads at once.

    Args:
        path: the ONNX file; data it keeps in other files is read from its folder.
        threads: CPU threads of one run. Fixed, because the last bits of a sum depend on it.

    Raises:
        FailedPreconditionError: the file cannot be loaded, or has what the protocol cannot carry.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(path), _session_options(threads), providers=_PROVIDERS
            )
        except Exception as error:  # ONNX Runtime's errors share no base class
            _log.error("model file refused", path=str(path), error=str(error))
            raise FailedPreconditionError(
                "the model file cannot be loaded", reason="MODEL_FILE_INVALID"
            ) from error
        self.inputs = tuple(_spec(argument, "input") for argument in self._session.get_inputs())
        self.outputs = tuple(_spec(argument, "output") for argument in self._session.get_outputs())

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Return the arrays named `outputs`, in that order; blocks for as long as the model computes.

        Raises:
            InvalidArgumentError: the model finds the inputs wrong (by their values: names, datatypes and
                shapes are to be checked before).
            InternalError: the model fails.
        """
        try:
            answer: list[Array] = self._session.run(list(outputs), dict(inputs))
        except Exception as error:  # as above
            _log.error("inference failed", error=str(error))
            raise _run_error(error) from error
        return answer


def _session_options(threads: int) -> Any:  # noqa: ANN401 (onnxruntime is untyped)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _NOTHING_BUT_FATAL
    return options


def _spec(argument: Any, kind: str) -> TensorSpec:  # noqa: ANN401
    datatype = BY_ONNX_NAME.get(argument.type)
    if datatype is None:
        raise FailedPreconditionError(
            f"{kind} {argument.name!r} is a {argument.type}, which the protocol cannot carry",
            reason="MODEL_FILE_UNSUPPORTED",
        )
    shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in argument.shape)
    return TensorSpec(name=argument.name, datatype=datatype, shape=shape)


def _run_error(error: Exception) -> DomainError:
    if type(error).__name__ == "InvalidArgument":
        return InvalidArgumentError("the model does not take these values", reason="VALUES_REFUSED")
    return InternalError("the model failed to compute an answer", reason="INFERENCE_FAILED")
