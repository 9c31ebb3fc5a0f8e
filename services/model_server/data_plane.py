"""Inference without a transport: find the version, check the tensors against it, run it, count it.

What is cheap is checked first (names, datatypes, shapes, rows); what takes long to decode is decoded where
the model runs.
"""

import math
import time
from collections.abc import Sequence
from contextvars import copy_context
from typing import NamedTuple

from services.common.errors import (
    DomainError,
    FieldViolation,
    InvalidArgumentError,
    ResourceExhaustedError,
    invalid_field,
)
from services.model_server.batches import Batches, BatchRequest
from services.model_server.config import ModelSpec
from services.model_server.loading import LoadedVersion
from services.model_server.repository import Repository
from services.model_server.runner import Runner
from services.model_server.session import Session
from services.model_server.statistics import Phases
from services.model_server.tensors import Array, InputTensor, Tensor, TensorSpec, fits, shown


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
        self._batches = Batches(runner)

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
        size = sum([math.prod(tensor.shape) for tensor in request.inputs])
        if version.spec.batches_requests and self._runner.is_short(version.costs, size):
            arrays, phases = await self._compute_batched(version, request, rows, outputs, size)
        else:
            arrays, phases = await self._compute_alone(version, request, rows, outputs, size)
        version.statistics.record_success(rows, phases)
        tensors = [
            Tensor(tensor.name, tensor.datatype, array) for tensor, array in zip(outputs, arrays, strict=True)
        ]
        return InferenceAnswer(model=version.model, version=version.version, outputs=tensors)

    async def _compute_batched(
        self,
        version: LoadedVersion,
        request: InferenceRequest,
        rows: int,
        outputs: Sequence[TensorSpec],
        size: int,
    ) -> tuple[Sequence[Array], Phases]:
        """Return the outputs, computed together with those of other requests."""
        inputs = {tensor.name: tensor.decode() for tensor in request.inputs}
        decoded_ns = time.perf_counter_ns()
        input_ns = decoded_ns - request.received_ns
        names = tuple([tensor.name for tensor in outputs])
        answer = await self._batches.compute(
            BatchRequest(version, inputs, rows, size, names, input_ns, copy_context())
        )
        return answer.outputs, Phases(input_ns, answer.begun_ns - decoded_ns, answer.compute_ns)

    async def _compute_alone(
        self,
        version: LoadedVersion,
        request: InferenceRequest,
        rows: int,
        outputs: Sequence[TensorSpec],
        size: int,
    ) -> tuple[Sequence[Array], Phases]:
        """Return the outputs, computed for this request alone, and decoded where they are computed."""
        asked_ns = time.perf_counter_ns()
        timed = await self._runner.run(
            lambda: _compute(version.session, request.inputs, outputs), costs=version.costs, size=size
        )
        decode_ns = timed.result.decode_ns
        phases = Phases(
            input_ns=asked_ns - request.received_ns + decode_ns,
            queue_ns=timed.begun_ns - asked_ns,
            infer_ns=timed.compute_ns - decode_ns,
        )
        version.statistics.record_execution(rows, input_ns=phases.input_ns, infer_ns=phases.infer_ns)
        return timed.result.outputs, phases

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
    outputs: Sequence[Array]
    decode_ns: int


def _compute(session: Session, inputs: Sequence[InputTensor], outputs: Sequence[TensorSpec]) -> _Computed:
    begun_ns = time.perf_counter_ns()
    arrays = {tensor.name: tensor.decode() for tensor in inputs}
    decoded_ns = time.perf_counter_ns()
    return _Computed(session.run(arrays, [tensor.name for tensor in outputs]), decoded_ns - begun_ns)


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
