import asyncio
from collections.abc import Sequence
from contextvars import ContextVar

import pytest

from services.common import batching
from services.common.batching import Batcher
from services.common.errors import ResourceExhaustedError


class Committer:
    """Doubles numbers once it is let go; keeps the batches it was given."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = asyncio.Event()
        self.began = asyncio.Event()

    async def __call__(self, batch: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(batch))
        self.began.set()
        await self.go.wait()
        return [ValueError(number) if number < 0 else 2 * number for number in batch]


async def test_what_waits_during_a_batch_becomes_the_next_one() -> None:
    committer = Committer()
    group: Batcher[int, int] = Batcher("numbers", committer, batch_size=3, most_waiting=1_000_000)
    first = asyncio.create_task(group.submit(1))
    await committer.began.wait()
    others = [asyncio.create_task(group.submit(number)) for number in range(2, 7)]
    await asyncio.sleep(0)
    assert not first.done()
    committer.go.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8, 10, 12]
    assert committer.batches == [[1], [2, 3, 4], [5, 6]]


async def test_requests_of_neighbouring_turns_of_the_loop_are_one_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "_LONGEST_GATHERING_SECONDS", 3600.0)  # however long a turn takes
    committer = Committer()
    committer.go.set()
    group: Batcher[int, int] = Batcher("numbers", committer, batch_size=100, most_waiting=1_000_000)
    tasks: list[asyncio.Task[int]] = []
    for number in range(20):
        tasks.append(asyncio.create_task(group.submit(number)))
        await asyncio.sleep(0)
    assert await asyncio.gather(*tasks) == [2 * number for number in range(20)]
    assert committer.batches == [list(range(20))]


async def test_endless_arrivals_do_not_hold_up_a_batch() -> None:
    committer = Committer()
    committer.go.set()
    group: Batcher[int, int] = Batcher("numbers", committer, batch_size=1_000_000, most_waiting=1_000_000)
    first = asyncio.create_task(group.submit(0))
    others: list[asyncio.Task[int]] = []
    while not first.done():  # every turn of the loop brings one more
        others.append(asyncio.create_task(group.submit(len(others) + 1)))
        await asyncio.sleep(0)
    await asyncio.gather(*others)
    assert committer.batches[0][0] == 0
    assert sum(len(batch) for batch in committer.batches) == len(others) + 1
    assert len(committer.batches) > 1


async def test_an_outcome_that_is_an_error_reaches_its_own_caller_only() -> None:
    committer = Committer()
    committer.go.set()
    group: Batcher[int, int] = Batcher("numbers", committer, batch_size=10, most_waiting=1_000_000)
    results = await asyncio.gather(group.submit(1), group.submit(-1), return_exceptions=True)
    assert results[0] == 2
    assert isinstance(results[1], ValueError)


async def test_a_failed_batch_fails_all_of_it_and_the_next_one_runs() -> None:
    calls = 0

    async def commit(batch: Sequence[int]) -> list[int]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("gone")
        return list(batch)

    group: Batcher[int, int] = Batcher("numbers", commit, batch_size=10, most_waiting=1_000_000)
    failed = await asyncio.gather(group.submit(1), group.submit(2), return_exceptions=True)
    assert [type(error) for error in failed] == [OSError, OSError]
    assert await group.submit(3) == 3


async def test_a_cancelled_caller_does_not_disturb_the_others() -> None:
    committer = Committer()
    group: Batcher[int, int] = Batcher("numbers", committer, batch_size=10, most_waiting=1_000_000)
    one, two = asyncio.create_task(group.submit(1)), asyncio.create_task(group.submit(2))
    await asyncio.sleep(0)
    one.cancel()
    committer.go.set()
    assert await two == 4
    with pytest.raises(asyncio.CancelledError):
        await one


async def test_too_many_that_wait_are_refused_and_the_others_are_answered() -> None:
    committer = Committer()
    group: Batcher[int, int] = Batcher("numbers", committer, batch_size=1, most_waiting=2)
    first = asyncio.create_task(group.submit(1))
    await committer.began.wait()
    others = [asyncio.create_task(group.submit(number)) for number in (2, 3)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhaustedError) as caught:
        await group.submit(4)
    assert caught.value.reason == "TOO_MANY_WAITING"
    committer.go.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6]
    assert await group.submit(5) == 10


async def test_callers_that_left_keep_no_place_in_the_line() -> None:
    committer = Committer()
    group: Batcher[int, int] = Batcher("numbers", committer, batch_size=1, most_waiting=2)
    first = asyncio.create_task(group.submit(1))
    await committer.began.wait()
    leaving = [asyncio.create_task(group.submit(number)) for number in (2, 3)]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.wait(leaving)
    staying = asyncio.create_task(group.submit(4))
    committer.go.set()
    assert (await first, await staying) == (2, 8)
    assert committer.batches == [[1], [4]]


async def test_nobody_works_for_callers_that_left_while_their_batch_was_gathered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "_LONGEST_GATHERING_SECONDS", 0.0)  # it begins before they take leave
    committer = Committer()
    committer.go.set()
    group: Batcher[int, int] = Batcher("numbers", committer, batch_size=10, most_waiting=10)
    leaving = [asyncio.create_task(group.submit(number)) for number in (1, 2)]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    assert await group.submit(3) == 6
    assert committer.batches == [[3]]


async def test_where_all_have_left_nothing_is_worked_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_LONGEST_GATHERING_SECONDS", 0.0)
    committer = Committer()
    committer.go.set()
    group: Batcher[int, int] = Batcher("numbers", committer, batch_size=10, most_waiting=10)
    leaving = asyncio.create_task(group.submit(1))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    assert await group.submit(2) == 4
    assert committer.batches == [[2]]


async def test_a_batch_is_as_large_as_its_requests_go_together() -> None:
    committer = Committer()
    committer.go.set()
    group: Batcher[int, int] = Batcher(
        "numbers",
        committer,
        batch_size=4,
        most_waiting=100,
        count_together=lambda numbers: 1 + numbers[0] % 3,
    )
    answers = await asyncio.gather(*(group.submit(number) for number in (2, 3, 4, 3, 1, 1, 2)))
    assert answers == [4, 6, 8, 6, 2, 2, 4]
    assert committer.batches == [[2, 3, 4], [3], [1, 1], [2]]


async def test_work_that_is_cancelled_leaves_nobody_waiting() -> None:
    async def work(_batch: Sequence[int]) -> list[int | Exception]:
        raise asyncio.CancelledError

    group: Batcher[int, int] = Batcher("numbers", work, batch_size=10, most_waiting=10)
    ended = await asyncio.gather(group.submit(1), group.submit(2), return_exceptions=True)
    assert [type(error) for error in ended] == [asyncio.CancelledError] * 2


async def test_work_runs_in_no_callers_context() -> None:
    caller: ContextVar[str] = ContextVar("caller", default="nobody")

    async def work(batch: Sequence[int]) -> list[str | Exception]:
        return [caller.get() for _ in batch]

    group: Batcher[int, str] = Batcher("numbers", work, batch_size=10, most_waiting=10)
    caller.set("somebody")
    assert await group.submit(1) == "nobody"


async def test_work_that_forgets_a_request_fails_its_batch_and_leaves_nobody_waiting() -> None:
    async def work(batch: Sequence[int]) -> list[int | Exception]:
        return list(batch[1:])

    group: Batcher[int, int] = Batcher("numbers", work, batch_size=10, most_waiting=10)
    ended = await asyncio.wait_for(
        asyncio.gather(group.submit(1), group.submit(2), return_exceptions=True), timeout=10
    )
    assert [type(error) for error in ended] == [ValueError] * 2


async def test_a_defect_in_telling_what_goes_together_reaches_those_it_is_of_and_no_later_ones() -> None:
    committer = Committer()
    committer.go.set()

    def count_together(numbers: Sequence[int]) -> int:
        if 0 in numbers:
            raise KeyError("zero")
        return len(numbers)

    group: Batcher[int, int] = Batcher(
        "numbers", committer, batch_size=10, most_waiting=10, count_together=count_together
    )
    ended = await asyncio.wait_for(
        asyncio.gather(group.submit(0), group.submit(1), return_exceptions=True), timeout=10
    )
    assert [type(error) for error in ended] == [KeyError] * 2
    assert await group.submit(1) == 2
