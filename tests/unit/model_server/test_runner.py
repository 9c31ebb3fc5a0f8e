import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from services.common.errors import ResourceExhaustedError
from services.model_server import runner as runner_module
from services.model_server.runner import CostBook, Runner

MILLISECOND = 1_000_000


def test_a_cost_is_unknown_until_something_comparable_was_measured() -> None:
    costs = CostBook()
    assert costs.expected_ns(7) is None
    costs.record(7, 1000)
    assert costs.expected_ns(7) == 1000
    assert costs.expected_ns(4) == 1000
    assert costs.expected_ns(3) is None


def test_a_larger_size_is_expected_in_proportion() -> None:
    costs = CostBook()
    costs.record(1, 1000)
    assert costs.expected_ns(8) == 8000
    costs.record(4, 1500)
    assert costs.expected_ns(8) == 3000


def test_new_costs_move_the_expectation_step_by_step() -> None:
    costs = CostBook()
    costs.record(1, 1000)
    costs.record(1, 2000)
    assert costs.expected_ns(1) == pytest.approx(1200)
    for _ in range(50):
        costs.record(1, 2000)
    assert costs.expected_ns(1) == pytest.approx(2000, rel=1e-3)


async def test_what_is_known_to_be_short_runs_on_the_loop_and_the_rest_in_a_worker() -> None:
    runner = Runner(workers=1, inline_milliseconds=60_000.0, max_waiting=1)
    costs = CostBook()
    first = await runner.run(threading.get_ident, costs=costs, size=1)
    assert first.result != threading.get_ident()
    assert (await runner.run(threading.get_ident, costs=costs, size=1)).result == threading.get_ident()
    costs.record(1 << 20, 60_001 * MILLISECOND)
    assert (await runner.run(threading.get_ident, costs=costs, size=1 << 20)).result != threading.get_ident()
    runner.close()


async def test_a_long_inference_does_not_stop_the_loop() -> None:
    runner = Runner(workers=1, inline_milliseconds=1.0, max_waiting=1)
    release = threading.Event()
    waiting = asyncio.create_task(runner.run(release.wait, costs=CostBook(), size=1))
    await asyncio.sleep(0)
    assert not waiting.done()
    release.set()
    assert (await waiting).result is True
    runner.close()


async def test_more_than_may_wait_are_refused_and_taken_again_afterwards() -> None:
    runner = Runner(workers=1, inline_milliseconds=1.0, max_waiting=1)
    release = threading.Event()
    under_way = [asyncio.create_task(runner.run(release.wait, costs=CostBook(), size=1)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhaustedError) as refusal:
        await runner.run(release.wait, costs=CostBook(), size=1)
    assert refusal.value.reason == "TOO_MANY_WAITING"
    release.set()
    await asyncio.gather(*under_way)
    assert (await runner.run(release.wait, costs=CostBook(), size=1)).result is True
    runner.close()


async def test_callers_that_come_and_go_put_nothing_more_before_the_workers() -> None:
    runner = Runner(workers=1, inline_milliseconds=1.0, max_waiting=1)
    release, computed = threading.Event(), 0

    def compute() -> None:
        nonlocal computed
        release.wait()
        computed += 1

    first = asyncio.create_task(runner.run(compute, costs=CostBook(), size=1))
    await asyncio.sleep(0)
    for _ in range(100):
        gone = asyncio.create_task(runner.run(compute, costs=CostBook(), size=1))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
    first.cancel()
    await asyncio.sleep(0)
    assert not first.done(), "what a thread computes cannot be taken back, and keeps its place"
    waiting = asyncio.create_task(runner.run(compute, costs=CostBook(), size=1))
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhaustedError):
        await runner.run(compute, costs=CostBook(), size=1)
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    await waiting
    assert computed == 2
    runner.close()


async def test_waiting_and_computing_are_timed_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that only what is computed moves."""
    now = 100
    clock = SimpleNamespace(perf_counter_ns=lambda: now, thread_time_ns=time.thread_time_ns)
    monkeypatch.setattr(runner_module, "time", clock)
    runner = Runner(workers=1, inline_milliseconds=0, max_waiting=1)
    release = threading.Event()

    def compute(nanoseconds: int) -> None:
        nonlocal now
        release.wait()
        now += nanoseconds

    first = asyncio.create_task(runner.run(lambda: compute(20), costs=CostBook(), size=1))
    await asyncio.sleep(0)
    second = asyncio.create_task(runner.run(lambda: compute(7), costs=CostBook(), size=1))
    await asyncio.sleep(0)
    release.set()
    blocking, waiting = await first, await second
    assert (blocking.begun_ns, blocking.compute_ns) == (100, 20)
    assert (waiting.begun_ns, waiting.compute_ns) == (120, 7)
    runner.close()
