"""Inference without a transport: find the version, check the tensors against it, run it, count it.

What is cheap is checked first (names, datatypes, shapes, rows); tensors are decoded where the model runs.
"""

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

from services.common.errors import (
    DomainError,
    FieldViolation,
    InvalidArgumentError,
    ResourceExhaustedError,
    invalid_field,
)
from services.model_server.config import ModelSpec
from services.model_server.loading import LoadedVersion
from services.model_server.repository import Repository
from services.model_server.runner import Runner
from services.model_server.session import Session
from services.model_server.statistics import Phases
from services.model_server.tensors import InputTensor, Tensor, TensorSpec, fits, shown


class InferenceRequest(NamedTuple):
    """Tensors for a model. `version` empty: the newest served. `outputs` empty: all, in the model's order.

    `received_ns` is `time.perf_counter_ns` when the request was first looked at.
    """

    model: str
    version: str
    inputs: Sequence[InputTensor]
    outputs: Sequence[str]
    received_ns: int


class InferenceAnswer(NamedTuple):
    """The tensors asked for, in the order asked for, and the version that computed them."""

    model: str
    version: str
    outputs: Sequence[Tensor]


class DataPlane:
    """Answers inferences from what the repository serves.

    Args:
        repository: the models.
        runner: where they run.
        max_batch_size: most rows (first dimension) of a request, whatever a model allows.
    """

    def __init__(self, repository: Repository, runner: Runner, *, max_batch_size: int) -> None:
        self._repository = repository
        self._runner = runner
        self._max_batch_size = max_batch_size

    async def infer(self, request: InferenceRequest) -> InferenceAnswer:
        """Return the model's answer.

        Raises:
            NotFoundError, UnavailableError: as `Repository.find`.
            InvalidArgumentError: an input is missing, unknown, or of the wrong datatype or shape; an output
                is unknown; the model refuses the values.
            ResourceExhaustedError: more rows than are taken at once, or too many requests waiting.
        """
        version = self._repository.find(request.model, request.version)
        try:
            answer = await self._run(version, request)
        except DomainError:
            version.statistics.record_failure(time.perf_counter_ns() - request.received_ns)
            raise
        return answer

    async def _run(self, version: LoadedVersion, request: InferenceRequest) -> InferenceAnswer:
        check_inputs(request.inputs, version.spec)
        rows = self._count_rows(request.inputs, version.spec)
        outputs = choose_outputs(request.outputs, version.spec)
        input_ns = time.perf_counter_ns() - request.received_ns
        timed = await self._runner.run(
            lambda: _compute(version.session, request.inputs, outputs),
            costs=version.costs,
            size=sum([math.prod(tensor.shape) for tensor in request.inputs]),
        )
        decode_ns = timed.result.decode_ns
        phases = Phases(
            input_ns=input_ns + decode_ns, queue_ns=timed.queue_ns, infer_ns=timed.compute_ns - decode_ns
        )
        version.statistics.record_success(rows, phases)
        return InferenceAnswer(model=version.model, version=version.version, outputs=timed.result.outputs)

    def _count_rows(self, inputs: Sequence[InputTensor], spec: ModelSpec) -> int:
        """Return the rows of a request, 1 for a model without a batch; refuse too many."""
        most = min(spec.max_batch_size or self._max_batch_size, self._max_batch_size)
        for index, tensor in enumerate(inputs):
            if tensor.shape and tensor.shape[0] > most:
                raise ResourceExhaustedError(
                    f"input {shown(tensor.name)} has {tensor.shape[0]} rows; at most {most} are taken",
                    reason="BATCH_TOO_LARGE",
                    violations=(
                        FieldViolation(field=f"inputs[{index}].shape", description=f"at most {most} rows"),
                    ),
                    metadata={"max_batch_size": str(most)},
                )
        if not spec.max_batch_size:
            return 1
        rows = {tensor.shape[0] for tensor in inputs}
        if len(rows) > 1:
            raise InvalidArgumentError(
                f"the inputs have different numbers of rows: {sorted(rows)}", reason="BATCH_MISMATCH"
            )
        return rows.pop()


class _Computed(NamedTuple):
    outputs: Sequence[Tensor]
    decode_ns: int


def _compute(session: Session, inputs: Sequence[InputTensor], outputs: Sequence[TensorSpec]) -> _Computed:
    started_ns = time.perf_counter_ns()
    arrays = {tensor.name: tensor.decode() for tensor in inputs}
    decoded_ns = time.perf_counter_ns()
    answer = session.run(arrays, [tensor.name for tensor in outputs])
    tensors = [
        Tensor(tensor.name, tensor.datatype, array) for tensor, array in zip(outputs, answer, strict=True)
    ]
    return _Computed(tensors, decoded_ns - started_ns)


def check_inputs(inputs: Sequence[InputTensor], spec: ModelSpec) -> None:
    """Refuse inputs that are not all of the model's and no other, each as the model wants it."""
    wanted = spec.inputs_by_name
    given: set[str] = set()
    for index, tensor in enumerate(inputs):
        expected = wanted.get(tensor.name)
        if expected is None:
            raise invalid_field(
                f"inputs[{index}].name",
                f"the model has no input {shown(tensor.name)}; it has {', '.join(wanted)}",
                "INPUT_UNKNOWN",
            )
        if tensor.name in given:
            raise invalid_field(
                f"inputs[{index}].name", f"input {shown(tensor.name)} is given twice", "INPUT_REPEATED"
            )
        _check_tensor(tensor, expected, index)
        given.add(tensor.name)
    if len(given) < len(wanted):
        missing = [name for name in wanted if name not in given]
        raise invalid_field("inputs", f"input {', '.join(map(shown, missing))} is missing", "INPUT_MISSING")


def choose_outputs(names: Sequence[str], spec: ModelSpec) -> Sequence[TensorSpec]:
    """Return the outputs named, or all of the model's where none is."""
    if not names:
        return spec.outputs
    known = {tensor.name: tensor for tensor in spec.outputs}
    chosen: dict[str, TensorSpec] = {}
    for index, name in enumerate(names):
        if name not in known:
            raise invalid_field(
                f"outputs[{index}].name",
                f"the model has no output {shown(name)}; it has {', '.join(known)}",
                "OUTPUT_UNKNOWN",
            )
        if name in chosen:
            raise invalid_field(
                f"outputs[{index}].name", f"output {shown(name)} is asked for twice", "OUTPUT_REPEATED"
            )
        chosen[name] = known[name]
    return list(chosen.values())


def _check_tensor(tensor: InputTensor, expected: TensorSpec, index: int) -> None:
    if tensor.datatype is not expected.datatype:
        raise invalid_field(
            f"inputs[{index}].datatype",
            f"input {shown(tensor.name)} is {tensor.datatype.name}; the model takes {expected.datatype.name}",
            "DATATYPE_MISMATCH",
        )
    if not fits(tensor.shape, expected.shape):
        raise invalid_field(
            f"inputs[{index}].shape",
            f"input {shown(tensor.name)} has shape {list(tensor.shape)}; "
            f"the model takes {list(expected.shape)} (-1: any size)",
            "SHAPE_MISMATCH",
        )
