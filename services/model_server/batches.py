"""Dynamic batching: requests to one version that are short, and come close together, are computed as one.

Only for models whose config asks for it (`dynamic_batching`), which says that a row's answer does not depend
on the rows beside it. What it saves is not the model's time alone: a large model's memory is brought to the
processor once for all, and answers leave together.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Final, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from services.common.batching import Batcher
from services.common.errors import DomainError, InternalError
from services.model_server.loading import LoadedVersion
from services.model_server.runner import Runner
from services.model_server.tensors import Array

_MOST_REQUESTS: Final = 64
_MOST_WAITING: Final = 10_000
_Layout: TypeAlias = tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]
"""The outputs asked for, and the inputs' shapes without the rows: what requests of a batch have in common."""


class BatchRequest(NamedTuple):
    """Decoded inputs, by name, of `rows` rows each; `outputs` are names."""

    version: LoadedVersion
    inputs: Mapping[str, Array]
    rows: int
    outputs: tuple[str, ...]
    input_ns: int

    @property
    def layout(self) -> _Layout:
        """Return what it must share with another to be computed with it."""
        names = self.version.spec.inputs_by_name
        return self.outputs, tuple(self.inputs[name].shape[1:] for name in names)


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
            batcher = Batcher(
                "inferences", self._answer, batch_size=_MOST_REQUESTS, most_waiting=_MOST_WAITING
            )
            self._batchers[request.version] = batcher
        return await batcher.submit(request)

    async def _answer(self, requests: Sequence[BatchRequest]) -> Sequence[BatchAnswer | Exception]:
        answers: dict[int, BatchAnswer | Exception] = {}
        for numbers in _split(requests):
            together = [requests[number] for number in numbers]
            answers.update(zip(numbers, await self._answer_alike(together), strict=True))
        return [answers[number] for number in range(len(requests))]

    async def _answer_alike(self, requests: Sequence[BatchRequest]) -> Sequence[BatchAnswer | Exception]:
        """Return the answers to requests of one layout; where they fail together, each is asked by itself."""
        try:
            return await self._run(requests)
        except DomainError as error:
            if len(requests) == 1:
                return [error]
        return [answer for request in requests for answer in await self._answer_alike([request])]

    async def _run(self, requests: Sequence[BatchRequest]) -> Sequence[BatchAnswer]:
        first = requests[0]
        version, outputs = first.version, first.outputs
        inputs = (
            first.inputs
            if len(requests) == 1
            else {
                name: np.concatenate([request.inputs[name] for request in requests]) for name in first.inputs
            }
        )
        timed = await self._runner.run(
            lambda: version.session.run(inputs, outputs),
            costs=version.costs,
            size=sum([array.size for array in inputs.values()]),
        )
        rows = sum(request.rows for request in requests)
        if any(len(output) != rows for output in timed.result) and len(requests) > 1:
            raise InternalError("the model gives other rows than it takes", reason="INFERENCE_FAILED")
        version.statistics.record_execution(
            rows,
            input_ns=sum(request.input_ns for request in requests),
            infer_ns=timed.compute_ns,
        )
        ends = accumulate((request.rows for request in requests), initial=0)
        return [
            BatchAnswer([output[begin:end] for output in timed.result], timed.begun_ns, timed.compute_ns)
            for begin, end in pairwise(ends)
        ]


def _split(requests: Sequence[BatchRequest]) -> Iterator[Sequence[int]]:
    """Yield the numbers of requests that can be computed together: of one layout, and not too many rows."""
    alike: dict[_Layout, list[int]] = {}
    for number, request in enumerate(requests):
        alike.setdefault(request.layout, []).append(number)
    for numbers in alike.values():
        most = requests[numbers[0]].version.spec.max_batch_size
        part: list[int] = []
        rows = 0
        for number in numbers:
            if part and rows + requests[number].rows > most:
                yield part
                part, rows = [], 0
            part.append(number)
            rows += requests[number].rows
        yield part
