"""Work in threads, which cannot be stopped: who leaves it is gone only when it has ended.

Otherwise callers that come and go would put more and more before the threads, and what takes the work back
would meet it still under way.
"""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")


async def in_thread(work: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result:
    """Return what `work` returns, done in a thread with the caller's context; cancelled, wait for its end."""
    return await to_its_end(asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs)))


async def to_its_end(computing: "asyncio.Future[Result]") -> Result:
    """Return what a thread computes; cancelled, wait until it has."""
    try:
        return await asyncio.shield(computing)
    except asyncio.CancelledError:
        await asyncio.wait([computing])
        raise
