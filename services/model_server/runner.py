"""Where an inference runs: on the event loop if it is known to be short, in a worker thread otherwise.

A hop to a thread and back costs several times what a small model takes for a row, and a long inference on the
loop would stop every other call. So the cost of each size of request is measured, and the measure decides.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

from services.common.threads import to_its_end
from services.common.waiting_room import WaitingRoom

Result = TypeVar("Result")

_NEWEST_SHARE = 0.2
_NANOSECONDS_PER_MILLISECOND = 1_000_000


class Timed(NamedTuple, Generic[Result]):
    """A result, when its computing began (`time.perf_counter_ns`), and the nanoseconds it took."""

    result: Result
    begun_ns: int
    compute_ns: int


class CostBook:
    """What a model was measured to cost, by the power of two of a request's size.

    The measure is the CPU time of the thread that ran it, which a busy machine does not inflate.
    """

    def __init__(self) -> None:
        self._nanoseconds: dict[int, float] = {}

    def expected_ns(self, size: int) -> float | None:
        """Return the expected cost of a request of `size` elements, or None before anything comparable.

        A size class not seen yet is taken to cost in proportion to the nearest smaller one.
        """
        wanted = size.bit_length()
        for known in range(wanted, 0, -1):
            cost = self._nanoseconds.get(known)
            if cost is not None:
                return cost * (1 << (wanted - known))
        return None

    def record(self, size: int, nanoseconds: int) -> None:
        """Let a measured cost count, more than older ones."""
        known = self._nanoseconds.get(size.bit_length(), float(nanoseconds))
        self._nanoseconds[size.bit_length()] = known + _NEWEST_SHARE * (nanoseconds - known)


class Runner:
    """Runs inferences; close it when the server has stopped.

    Args:
        workers: threads, and so long inferences at once.
        inline_milliseconds: what is expected to cost less runs on the event loop.
        max_waiting: how many may wait for a worker.
    """

    def __init__(self, *, workers: int, inline_milliseconds: float, max_waiting: int) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="inference")
        self._inline_ns = inline_milliseconds * _NANOSECONDS_PER_MILLISECOND
        self._room = WaitingRoom("inferences", at_once=workers, waiting=max_waiting)

    async def run(self, work: Callable[[], Result], *, costs: CostBook, size: int) -> Timed[Result]:
        """Return what `work` returns, timed; `costs` learns from it.

        Raises:
            ResourceExhaustedError: too many wait already.
        """
        if self.is_short(costs, size):
            return _measure(work, costs, size)
        async with self._room.turn():
            return await to_its_end(
                asyncio.get_running_loop().run_in_executor(self._executor, _measure, work, costs, size)
            )

    def run_now(self, work: Callable[[], Result], *, costs: CostBook, size: int) -> Timed[Result]:
        """Return what `work`, known to be short, returns, timed; it runs on the event loop."""
        return _measure(work, costs, size)

    def is_short(self, costs: CostBook, size: int) -> bool:
        """Tell whether a request of `size` elements is known to be computed on the event loop."""
        expected = costs.expected_ns(size)
        return expected is not None and expected <= self._inline_ns

    def close(self) -> None:
        """Wait for what runs and end the threads; what still waits is dropped."""
        self._executor.shutdown(cancel_futures=True)


def _measure(work: Callable[[], Result], costs: CostBook, size: int) -> Timed[Result]:
    begun_ns, cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
    result = work()
    costs.record(size, time.thread_time_ns() - cpu_ns)
    return Timed(result=result, begun_ns=begun_ns, compute_ns=time.perf_counter_ns() - begun_ns)
