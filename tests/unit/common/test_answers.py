"""Kept answers: given again only while nothing was written, and never for long."""

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from services.common import answers as answers_module
from services.common.answers import Answers
from services.common.errors import UnavailableError
from services.common.interceptors import InterceptedServer

KEY = ("/a.B/C", b"request")


@pytest.fixture(autouse=True)
def gathering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for others to come, so that nothing here takes time."""
    monkeypatch.setattr(answers_module, "GATHERING_SECONDS", 0)


@dataclass
class Data:
    """A database of one number; reading its version, or an answer, waits while `held` is unset."""

    version: int = 0
    version_reads: int = 0
    made: int = 0
    held: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None

    def __post_init__(self) -> None:
        self.held.set()

    async def read_version(self) -> int:
        self.version_reads += 1
        version = self.version
        await self.held.wait()
        if self.failure is not None:
            raise self.failure
        return version

    async def make(self) -> bytes:
        self.made += 1
        answer = b"%d" % self.version
        await self.held.wait()
        return answer


def keeping(data: Data, *, seconds: float = 60.0, maximum_bytes: int = 1000) -> Answers:
    return Answers(data.read_version, seconds=seconds, maximum_bytes=maximum_bytes)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0)


async def settle() -> None:
    """Let everything go on that can."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_an_answer_is_made_once_while_nothing_is_written() -> None:
    data = Data()
    answers = keeping(data)
    assert [await answers.get(KEY, data.make) for _ in range(3)] == [b"0"] * 3
    assert data.made == 1
    assert await answers.get(("/a.B/C", b"other"), data.make) == b"0"
    assert await answers.get(("/a.B/D", b"request"), data.make) == b"0"
    assert data.made == 3


async def test_a_write_is_seen_by_the_next_call() -> None:
    data = Data()
    answers = keeping(data)
    for version in range(5):
        data.version = version
        assert await answers.get(KEY, data.make) == b"%d" % version


async def test_a_version_read_before_the_call_does_not_count() -> None:
    data = Data()
    answers = keeping(data)
    await answers.get(KEY, data.make)
    data.held.clear()
    early = asyncio.create_task(answers.get(KEY, data.make))
    await until(lambda: data.version_reads == 2)  # and it has seen version 0
    data.version = 1
    late = asyncio.create_task(answers.get(KEY, data.make))
    later = asyncio.create_task(answers.get(KEY, data.make))
    await asyncio.sleep(0)
    data.held.set()
    assert await early == b"0"
    assert [await late, await later] == [b"1", b"1"]
    assert data.version_reads == 3  # the last two shared one


async def test_only_calls_that_overlap_wait_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Data()
    answers = keeping(data)
    monkeypatch.setattr(answers_module, "GATHERING_SECONDS", 3600)
    for _ in range(5):
        await answers.get(KEY, data.make)
    assert data.version_reads == 5
    data.held.clear()
    first = asyncio.create_task(answers.get(KEY, data.make))
    await until(lambda: data.version_reads == 6)
    second = asyncio.create_task(answers.get(KEY, data.make))
    await settle()
    data.held.set()
    assert await first == b"0"
    await settle()
    assert (second.done(), data.version_reads) == (False, 6)  # it gathers
    second.cancel()


async def test_calls_at_the_same_time_share_the_making() -> None:
    data = Data()
    answers = keeping(data)
    assert await asyncio.gather(*(answers.get(KEY, data.make) for _ in range(20))) == [b"0"] * 20
    assert data.made == 1


async def test_one_who_leaves_takes_nothing_from_the_others() -> None:
    data = Data()
    answers = keeping(data)
    await answers.get(("/other", b""), data.make)
    release = asyncio.Event()
    cancelled = []

    async def make() -> bytes:
        try:
            await release.wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return b"made"

    first, second = (asyncio.create_task(answers.get(KEY, make)) for _ in range(2))
    await until(lambda: data.version_reads >= 2)
    await settle()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    release.set()
    assert await second == b"made"
    assert not cancelled

    release.clear()
    data.version += 1
    alone = asyncio.create_task(answers.get(KEY, make))
    await settle()
    alone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await alone
    await until(lambda: cancelled == [True])  # nobody wants it any more
    assert await answers.get(KEY, data.make) == b"1"


async def test_a_failure_is_everybodys_and_is_not_kept() -> None:
    data = Data()
    answers = keeping(data)
    tries = []

    async def fail() -> bytes:
        tries.append(True)
        raise UnavailableError("gone", reason="GONE")

    for _ in range(2):
        with pytest.raises(UnavailableError):
            await answers.get(KEY, fail)
    assert len(tries) == 2
    data.failure = UnavailableError("the database", reason="DATABASE_UNAVAILABLE")
    with pytest.raises(UnavailableError, match="the database"):
        await answers.get(KEY, data.make)
    data.failure = None
    assert await answers.get(KEY, data.make) == b"0"


@pytest.mark.parametrize(
    ("limits", "made"), [({"seconds": 0}, 2), ({"maximum_bytes": 0}, 2), ({"maximum_bytes": 1}, 2), ({}, 1)]
)
async def test_nothing_is_kept_beyond_its_limits(limits: dict[str, Any], made: int) -> None:
    data = Data()
    answers = keeping(data, **limits)
    for _ in range(2):
        assert await answers.get(KEY, data.make) == b"0"
    assert data.made == made


async def test_what_was_asked_counts_as_kept_too() -> None:
    """Large requests with small answers fill the memory as large answers do."""
    data = Data()
    answers = keeping(data, maximum_bytes=10_000)
    for number in range(100):
        await answers.get(("/a.B/C", bytes(1000) + b"%d" % number), data.make)
    assert data.made == 100
    await answers.get(("/a.B/C", bytes(1000) + b"99"), data.make)
    assert data.made == 100
    await answers.get(("/a.B/C", bytes(1000) + b"0"), data.make)
    assert data.made == 101


async def test_a_version_that_does_not_come_holds_up_those_who_wait_for_it_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection may be lost without a word; others answer."""
    monkeypatch.setattr("services.common.answers.READING_SECONDS", 0.01)
    data = Data()
    lost: list[asyncio.Future[int]] = []

    async def read_version() -> int:
        if not lost:
            lost.append(asyncio.get_running_loop().create_future())
            return await lost[0]
        return await data.read_version()

    answers = Answers(read_version, seconds=60.0, maximum_bytes=1000)
    unlucky = asyncio.create_task(answers.get(KEY, data.make))
    await until(lambda: bool(lost))
    async with asyncio.timeout(120):
        assert await answers.get(KEY, data.make) == b"0"
    assert not unlucky.done()
    lost[0].set_result(0)
    assert await unlucky == b"0"


async def test_the_oldest_answers_make_room() -> None:
    data = Data()
    answers = keeping(data, maximum_bytes=1300)  # two of 600

    def making(size: int) -> Callable[[], Coroutine[Any, Any, bytes]]:
        async def make() -> bytes:
            data.made += 1
            return bytes(size)

        return make

    for name in (b"a", b"b", b"c"):
        await answers.get(("/", name), making(100))
    assert data.made == 3
    await answers.get(("/", b"c"), making(100))
    assert data.made == 3
    await answers.get(("/", b"a"), making(100))
    assert data.made == 4


async def test_a_failed_call_lets_go_of_its_request() -> None:
    """gRPC may keep what ended a call, frames included, long after its end."""

    class Refusing:
        def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
            return ()

        def set_trailing_metadata(self, _metadata: object) -> None: ...

        def code(self) -> None: ...

        async def abort(self, *_status: object, **_more: object) -> None:
            raise grpc.aio.AbortError

    class Adding:
        handlers: Sequence[Any] = ()

        def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
            self.handlers = handlers

    async def fail(_message: bytes, _context: object) -> bytes:
        raise UnavailableError("gone", reason="GONE")

    handler: Any = grpc.unary_unary_rpc_method_handler(fail, bytes, bytes)
    server: Any = Adding()
    InterceptedServer(server, "a", {"/a.B/C": keeping(Data())}).add_registered_method_handlers(
        "a.B", {"C": handler}
    )
    answering = server.handlers[0].service(SimpleNamespace(method="/a.B/C"))
    with pytest.raises(grpc.aio.AbortError) as ended:
        await answering.unary_unary(b"a large request", Refusing())
    frames = [frame for frame, _ in traceback.walk_tb(ended.value.__traceback__)]
    holding = [frame.f_code.co_name for frame in frames if b"a large request" in frame.f_locals.values()]
    assert holding == []
