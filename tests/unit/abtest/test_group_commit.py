import asyncio
from collections.abc import Sequence

import pytest

from services.abtest.group_commit import GroupCommit


class Committer:
    """Doubles numbers once it is let go; keeps the batches it was given."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = asyncio.Event()

    async def __call__(self, batch: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(batch))
        await self.go.wait()
        return [ValueError(number) if number < 0 else 2 * number for number in batch]


async def test_what_waits_during_a_batch_becomes_the_next_one() -> None:
    committer = Committer()
    group: GroupCommit[int, int] = GroupCommit(committer, batch_size=3)
    first = asyncio.create_task(group.submit(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.create_task(group.submit(number)) for number in range(2, 7)]
    await asyncio.sleep(0)
    assert not first.done()
    committer.go.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8, 10, 12]
    assert committer.batches == [[1], [2, 3, 4], [5, 6]]


async def test_an_outcome_that_is_an_error_reaches_its_own_caller_only() -> None:
    committer = Committer()
    committer.go.set()
    group: GroupCommit[int, int] = GroupCommit(committer, batch_size=10)
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

    group: GroupCommit[int, int] = GroupCommit(commit, batch_size=10)
    failed = await asyncio.gather(group.submit(1), group.submit(2), return_exceptions=True)
    assert [type(error) for error in failed] == [OSError, OSError]
    assert await group.submit(3) == 3


async def test_a_cancelled_caller_does_not_disturb_the_others() -> None:
    committer = Committer()
    group: GroupCommit[int, int] = GroupCommit(committer, batch_size=10)
    one, two = asyncio.create_task(group.submit(1)), asyncio.create_task(group.submit(2))
    await asyncio.sleep(0)
    one.cancel()
    committer.go.set()
    assert await two == 4
    with pytest.raises(asyncio.CancelledError):
        await one
