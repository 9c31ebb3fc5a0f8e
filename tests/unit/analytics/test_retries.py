"""Collided transactions run again, a bounded number of times."""

from random import Random

import pytest

from services.analytics.operations.retries import Retries
from services.common.errors import AbortedError


class Colliding:
    """Collides a number of times, then returns how often it ran."""

    def __init__(self, collisions: int) -> None:
        self.collisions, self.runs = collisions, 0

    async def __call__(self) -> int:
        self.runs += 1
        if self.runs <= self.collisions:
            raise AbortedError("collided", reason="CONCURRENT_UPDATE")
        return self.runs


def retries() -> Retries:
    return Retries(Random(1), attempts=3, base_seconds=0.0)  # noqa: S311


@pytest.mark.parametrize("collisions", [0, 1, 2])
async def test_a_collision_is_tried_again(collisions: int) -> None:
    assert await retries().run(Colliding(collisions)) == collisions + 1


async def test_collisions_without_end_are_reported() -> None:
    work = Colliding(3)
    with pytest.raises(AbortedError):
        await retries().run(work)
    assert work.runs == 3


async def test_other_errors_are_not_tried_again() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await retries().run(fail)
