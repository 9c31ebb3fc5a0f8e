"""The waiting room: how many work, how many wait, who is refused, and that every place is given back."""

import asyncio
from collections.abc import Callable

import pytest

from services.common.errors import ResourceExhaustedError
from services.common.waiting_room import WaitingRoom

AT_ONCE, WAITING = 2, 3


class Visitors:
    """Visits a room; each stays until it is let go."""

    def __init__(self, room: WaitingRoom) -> None:
        self.working: list[int] = []
        self.most = 0
        self._room = room
        self._leave: dict[int, asyncio.Event] = {}

    async def visit(self, number: int) -> int:
        self._leave[number] = asyncio.Event()
        async with self._room.turn():
            self.working.append(number)
            self.most = max(self.most, len(self.working))
            try:
                await self._leave[number].wait()
            finally:
                self.working.remove(number)
        return number

    def let_go(self, number: int) -> None:
        self._leave[number].set()


async def until(condition: Callable[[], bool]) -> None:
    """Give the loop turns until something holds; the test's own limit is a number of turns."""
    for _ in range(100):
        if condition():
            return
        await asyncio.sleep(0)
    pytest.fail("it never held")


async def full_room() -> tuple[Visitors, list[asyncio.Task[int]]]:
    """Return a room where `AT_ONCE` work and `WAITING` wait, and those inside, in the order they came."""
    visitors = Visitors(WaitingRoom("visits", at_once=AT_ONCE, waiting=WAITING))
    inside = [asyncio.create_task(visitors.visit(number)) for number in range(AT_ONCE + WAITING)]
    await until(lambda: len(visitors.working) == AT_ONCE)
    return visitors, inside


async def leave_all(visitors: Visitors, inside: list[asyncio.Task[int]]) -> list[int]:
    for number in range(len(inside)):
        visitors.let_go(number)
    return await asyncio.gather(*inside)


async def test_so_many_work_the_next_wait_in_order_and_further_ones_are_refused_at_once() -> None:
    visitors, inside = await full_room()
    with pytest.raises(ResourceExhaustedError) as refusal:
        await visitors.visit(99)
    assert refusal.value.reason == "TOO_MANY_WAITING"
    assert refusal.value.message == "too many visits wait; send this one again shortly"
    assert visitors.working == [0, 1]
    visitors.let_go(1)
    await until(lambda: visitors.working == [0, 2])
    visitors.let_go(0)
    await until(lambda: visitors.working == [2, 3])
    assert await leave_all(visitors, inside) == [0, 1, 2, 3, 4]
    assert visitors.most == AT_ONCE


async def test_a_place_is_free_again_once_somebody_has_left() -> None:
    visitors, inside = await full_room()
    visitors.let_go(0)
    await inside[0]
    inside.append(asyncio.create_task(visitors.visit(5)))
    await asyncio.sleep(0)  # the newest has come in
    assert await leave_all(visitors, inside) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("number", [0, 3], ids=["working", "waiting"])
async def test_whoever_goes_away_leaves_a_place(number: int) -> None:
    visitors, inside = await full_room()
    inside[number].cancel()
    with pytest.raises(asyncio.CancelledError):
        await inside[number]
    newcomer = asyncio.create_task(visitors.visit(5))
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhaustedError):
        await visitors.visit(99)
    stayed = [task for index, task in enumerate(inside) if index != number]
    for each in (0, 1, 2, 3, 4, 5):
        visitors.let_go(each)
    assert await asyncio.gather(*stayed, newcomer) == [each for each in range(6) if each != number]
    assert visitors.most == AT_ONCE


async def test_work_that_fails_leaves_a_place() -> None:
    room = WaitingRoom("visits", at_once=1, waiting=0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with room.turn():
                raise ZeroDivisionError
    async with room.turn():
        with pytest.raises(ResourceExhaustedError):
            async with room.turn():
                pytest.fail("nobody may be here")
