"""Dynamic batching: requests to one version that are short, and come close together, are computed as one.

Only for models whose config asks for it (`dynamic_batching`), which says that a row's answer does not depend
on the rows beside it. What it saves is not the model's time alone: a large model's memory is brought to the
processor once for all, and answers leave together. A batch is as short as a request must be to run on the
event loop, so that nobody waits for a worker, or for long.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextvars import Context
from itertools import accumulate, pairwise
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from services.common.batching import Batcher
from services.common.errors import InternalError
from services.model_server.loading import LoadedVersion
from services.model_server.runner import Runner, Timed
from services.model_server.tensors import Array

_MOST_REQUESTS: Final = 64
_MOST_WAITING: Final = 1024


class BatchRequest(NamedTuple):
    """Decoded inputs, by name, of `rows` rows each and `size` elements together; `outputs` are names.

    `context` is the caller's, for what is logged of the request alone.
    """

    version: LoadedVersion
    inputs: Mapping[str, Array]
    rows: int
    size: int
    outputs: tuple[str, ...]
    input_ns: int
    context: Context


class BatchAnswer(NamedTuple):
    """The outputs, in the order asked for, and when the batch began to be computed and how long it took."""

    outputs: Sequence[Array]
    begun_ns: int
    compute_ns: int


class Batches:
    """Computes requests in batches, a version's apart from another's.

    Args:
        runner: where a batch runs.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._batchers: WeakKeyDictionary[LoadedVersion, Batcher[BatchRequest, BatchAnswer]] = (
            WeakKeyDictionary()
        )

    async def compute(self, request: BatchRequest) -> BatchAnswer:
        """Return the answer to `request`, computed with those of others that come at the same time.

        Raises:
            InvalidArgumentError, InternalError: as `Session.run`, for this request alone.
            ResourceExhaustedError: too many wait.
        """
        batcher = self._batchers.get(request.version)
        if batcher is None:
            batcher = self._batchers[request.version] = Batcher(
                "inferences",
                self._answer,
                batch_size=_MOST_REQUESTS,
                most_waiting=_MOST_WAITING,
                count_together=self._count_together,
            )
        return await batcher.submit(request)

    def _count_together(self, requests: Sequence[BatchRequest]) -> int:
        """Return how many requests, from the first, are alike, short together, and not of too many rows."""
        first = requests[0]
        rows = size = 0
        for count, request in enumerate(requests):
            rows, size = rows + request.rows, size + request.size
            if count and not (
                rows <= first.version.spec.max_batch_size
                and _are_alike(first, request)
                and self._runner.is_short(first.version.costs, size)
            ):
                return count
        return len(requests)

    async def _answer(self, requests: Sequence[BatchRequest]) -> Sequence[BatchAnswer | Exception]:
        """Return the answers; where requests fail together, each is asked by itself."""
        if len(requests) > 1:
            try:
                return self._run_together(requests)
            except Exception:  # noqa: BLE001 (what it is shows where it belongs)
                await asyncio.sleep(0)
        answers: list[BatchAnswer | Exception] = []
        for request in requests:
            try:
                timed = request.context.run(self._run, request.version, [request], request.inputs)
                answers.append(BatchAnswer(timed.result, timed.begun_ns, timed.compute_ns))
            except Exception as error:  # noqa: BLE001 (its caller's)
                answers.append(error)
            if len(requests) > 1:
                await asyncio.sleep(0)
        return answers

    def _run_together(self, requests: Sequence[BatchRequest]) -> Sequence[BatchAnswer]:
        first = requests[0]
        inputs = {
            name: np.concatenate([request.inputs[name] for request in requests]) for name in first.inputs
        }
        timed = self._run(first.version, requests, inputs)
        ends = [0, *accumulate(request.rows for request in requests)]
        if any(output.shape[:1] != (ends[-1],) for output in timed.result):
            raise InternalError("the model gives other rows than it takes", reason="INFERENCE_FAILED")
        return [
            BatchAnswer([output[begin:end] for output in timed.result], timed.begun_ns, timed.compute_ns)
            for begin, end in pairwise(ends)
        ]

    def _run(
        self, version: LoadedVersion, requests: Sequence[BatchRequest], inputs: Mapping[str, Array]
    ) -> Timed[list[Array]]:
        timed = self._runner.run_now(
            lambda: version.session.run(inputs, requests[0].outputs),
            costs=version.costs,
            size=sum([request.size for request in requests]),
        )
        version.statistics.record_execution(
            sum([request.rows for request in requests]),
            input_ns=sum([request.input_ns for request in requests]),
            infer_ns=timed.compute_ns,
        )
        return timed


def _are_alike(one: BatchRequest, other: BatchRequest) -> bool:
    """Tell whether two requests ask for the same outputs of inputs whose shapes differ in rows only."""
    return one.outputs == other.outputs and all(
        array.shape[1:] == other.inputs[name].shape[1:] for name, array in one.inputs.items()
    )
