"""Dynamic batching: fewer runs of the model, and to every request the answer it would have had alone."""

import asyncio
import gc
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from unittest.mock import Mock

import numpy as np
import pytest

from services.common.errors import InternalError, InvalidArgumentError
from services.common.telemetry import request_id
from services.model_server import session
from services.model_server.data_plane import InferenceAnswer
from services.model_server.runner import CostBook
from services.model_server.statistics import VersionStatistics
from services.model_server.tensors import Array
from tests.unit.model_server import models
from tests.unit.model_server.plane import SHORT_MILLISECONDS, Plane, ones, open_plane

MILLISECOND = 1_000_000
BATCHING = "max_batch_size: 8 dynamic_batching { }"


async def infer_together(plane: Plane, requests: Sequence[Mapping[str, Array]]) -> list[InferenceAnswer]:
    """Return the answers to requests that are on their way at the same time."""
    return await asyncio.gather(*(plane.infer(request) for request in requests))


async def warm_plane(root: Path, content: bytes, config: str, first: Mapping[str, Array]) -> Plane:
    """Return a plane that has answered `first`, and so knows that its size is computed at once."""
    plane = await open_plane(root, content, config)
    await plane.infer(first)
    return plane


def counts(plane: Plane) -> VersionStatistics:
    return plane.repository.find("m").statistics


async def test_a_forest_answers_a_batch_bit_for_bit_as_it_answers_each_row(tmp_path: Path) -> None:
    rows = models.forest_rows(40, 3)
    config = "max_batch_size: 64 dynamic_batching { }"
    plane = await warm_plane(tmp_path, models.forest_model(1), config, {"X": rows[:1]})
    requests = [{"X": rows[[number]]} for number in range(40)]
    alone = [await plane.infer(request) for request in requests]
    executions = counts(plane).execution_count
    together = await infer_together(plane, requests)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.outputs[0].array, other.outputs[0].array)
    assert counts(plane).execution_count == executions + 1
    assert counts(plane).by_batch_size[40].compute_infer.count == 1
    assert (counts(plane).inference_count, counts(plane).success.count) == (81, 81)
    assert counts(plane).queue.ns > 0


async def test_requests_of_several_rows_get_their_own_rows_back(tmp_path: Path) -> None:
    plane = await warm_plane(tmp_path, models.scale_model(2.0), BATCHING, {"x": ones(1, 2)})
    answers = await infer_together(plane, [{"x": number * ones(number, 2)} for number in (1, 3, 2)])
    for number, answer in zip((1, 3, 2), answers, strict=True):
        np.testing.assert_array_equal(answer.outputs[0].array, 2.0 * number * ones(number, 2))
    assert list(counts(plane).by_batch_size) == [1, 6]


async def test_a_batch_has_no_more_rows_than_the_config_allows(tmp_path: Path) -> None:
    plane = await warm_plane(tmp_path, models.scale_model(2.0), BATCHING, {"x": ones(1, 2)})
    await infer_together(plane, [{"x": ones(3, 2)} for _ in range(5)])
    ran = {rows: batch.compute_infer.count for rows, batch in counts(plane).by_batch_size.items()}
    assert ran == {1: 1, 6: 2, 3: 1}


async def test_requests_for_other_outputs_are_not_mixed_up(tmp_path: Path) -> None:
    a, b = np.array([[5]]), np.array([[3]])
    plane = await warm_plane(tmp_path, models.two_tensor_model(), BATCHING, {"a": a, "b": b})
    names: Sequence[Sequence[str]] = (["total"], ["difference"], ["difference", "total"], [], ["total"])
    answers = await asyncio.gather(*(plane.infer({"a": a, "b": b}, outputs) for outputs in names))
    assert [[tensor.array.item() for tensor in answer.outputs] for answer in answers] == [
        [8],
        [2],
        [2, 8],
        [8, 2],
        [8],
    ]
    assert counts(plane).execution_count == 1 + 5


async def test_who_asks_for_what_fails_is_alone_with_it(tmp_path: Path) -> None:
    good, bad = np.array([1]), np.array([7])
    plane = await warm_plane(tmp_path, models.lookup_model(), BATCHING, {"index": good})
    asked = [plane.infer({"index": index}) for index in (good, bad, good)]
    first, failed, last = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(failed, InvalidArgumentError | InternalError)
    for answer in (first, last):
        assert isinstance(answer, InferenceAnswer)
        assert answer.outputs[0].array.tolist() == [2.0]
    assert (counts(plane).success.count, counts(plane).fail.count) == (3, 1)


@pytest.mark.parametrize("content", [models.first_row_model(), models.twice_model()])
async def test_a_model_whose_rows_are_not_its_inputs_answers_each_request_alone(
    tmp_path: Path, content: bytes
) -> None:
    requests = [{"x": rows * ones(rows, 2)} for rows in (1, 2, 3)]
    plain = await open_plane(tmp_path / "plain", content, "max_batch_size: 8")
    batching = await warm_plane(tmp_path / "batching", content, BATCHING, {"x": ones(1, 2)})
    for request, answer in zip(requests, await infer_together(batching, requests), strict=True):
        expected = (await plain.infer(request)).outputs[0].array
        np.testing.assert_array_equal(answer.outputs[0].array, expected)
        np.testing.assert_array_equal((await batching.infer(request)).outputs[0].array, expected)


async def test_batches_that_had_to_be_parted_leave_nothing_in_memory(tmp_path: Path) -> None:
    def count_tracebacks() -> int:
        gc.collect()
        return sum(isinstance(kept, TracebackType) for kept in gc.get_objects())

    plane = await warm_plane(tmp_path, models.first_row_model(), BATCHING, {"x": ones(1, 2)})
    requests = [{"x": ones(rows, 2)} for rows in (1, 2)]
    await infer_together(plane, requests)
    before = count_tracebacks()
    for _ in range(10):
        await infer_together(plane, requests)
    assert count_tracebacks() <= before


async def test_an_answer_without_rows_fails_nobody(tmp_path: Path) -> None:
    plane = await warm_plane(tmp_path, models.squeezing_model(), BATCHING, {"x": ones(1, 1)})
    assert (await plane.infer({"x": ones(1, 1)})).outputs[0].array.shape == ()
    answers = await infer_together(plane, [{"x": ones(rows, 1)} for rows in (1, 2)])
    assert [answer.outputs[0].array.tolist() for answer in answers] == [[1.0], [1.0, 1.0]]


@pytest.mark.parametrize("config", ["max_batch_size: 8", "dynamic_batching { }", ""])
async def test_a_model_that_does_not_ask_for_it_computes_each_request_alone(
    tmp_path: Path, config: str
) -> None:
    plane = await warm_plane(tmp_path, models.scale_model(2.0), config, {"x": ones(1, 2)})
    await infer_together(plane, [{"x": ones(1, 2)}] * 5)
    assert counts(plane).execution_count == 6


async def test_a_batch_is_as_short_as_a_request_must_be_and_so_waits_for_no_worker(tmp_path: Path) -> None:
    """Another model's long inference holds the only worker; each request is short, all together are not."""
    plane = await warm_plane(tmp_path, models.scale_model(2.0), BATCHING, {"x": ones(1, 2)})
    costs = plane.repository.find("m").costs
    costs.record(4, round(10 * SHORT_MILLISECONDS * MILLISECOND))  # two of them: long
    release = threading.Event()
    long = asyncio.create_task(plane.runner.run(release.wait, costs=CostBook(), size=1))
    await asyncio.sleep(0)
    await infer_together(plane, [{"x": ones(1, 2)} for _ in range(8)])
    assert list(counts(plane).by_batch_size) == [1]
    release.set()
    await long


async def test_the_loop_is_free_between_batches_that_wait(tmp_path: Path) -> None:
    config = "max_batch_size: 1 dynamic_batching { }"
    plane = await warm_plane(tmp_path, models.scale_model(2.0), config, {"x": ones(1, 2)})
    done: list[int] = []
    turns_between: list[int] = []
    turns = 0

    async def infer(number: int) -> None:
        await plane.infer({"x": ones(1, 2)})
        done.append(number)
        turns_between.append(turns)

    everybody = asyncio.gather(*(infer(number) for number in range(20)))
    while not everybody.done():
        await asyncio.sleep(0)
        turns += 1
    assert done == list(range(20))
    assert len(set(turns_between)) == 20


async def test_what_a_request_alone_fails_with_is_logged_under_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = await warm_plane(tmp_path, models.lookup_model(), BATCHING, {"index": np.array([1])})
    log = Mock()
    told: list[str] = []
    log.error.side_effect = lambda *_words, **_values: told.append(request_id.get())
    monkeypatch.setattr(session, "_log", log)

    async def infer(caller: str, index: int) -> InferenceAnswer:
        request_id.set(caller)
        return await plane.infer({"index": np.array([index])})

    await asyncio.gather(infer("good", 1), infer("bad", 7), return_exceptions=True)
    assert told == [request_id.get(), "bad"]


async def test_callers_that_left_are_not_computed_for(tmp_path: Path) -> None:
    plane = await warm_plane(tmp_path, models.scale_model(2.0), BATCHING, {"x": ones(1, 2)})
    leaving = [asyncio.create_task(plane.infer({"x": ones(1, 2)})) for _ in range(5)]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await plane.infer({"x": ones(2, 2)})
    assert list(counts(plane).by_batch_size) == [1, 2]


async def test_a_caller_that_leaves_takes_nobodys_answer_with_it(tmp_path: Path) -> None:
    plane = await warm_plane(tmp_path, models.scale_model(2.0), BATCHING, {"x": ones(1, 2)})
    leaving, staying = (asyncio.create_task(plane.infer({"x": ones(1, 2)})) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    np.testing.assert_array_equal((await staying).outputs[0].array, 2.0 * ones(1, 2))
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_what_waits_for_its_batch_is_answered_by_the_version_it_found(tmp_path: Path) -> None:
    plane = await warm_plane(tmp_path, models.scale_model(2.0), BATCHING, {"x": ones(1, 2)})
    waiting = asyncio.create_task(plane.infer({"x": ones(1, 2)}))
    await asyncio.sleep(0)
    models.write_version(tmp_path, "m", 2, models.scale_model(3.0))
    await plane.repository.load("m")
    assert (await waiting).version == "1"
    assert (await plane.infer({"x": ones(1, 2)})).version == "2"
