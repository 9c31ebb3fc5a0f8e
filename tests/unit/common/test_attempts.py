"""Attempts at batches of which some fail: what counts, who is named, and what ends everything."""

import pytest
from structlog.testing import capture_logs

from services.common import attempts
from services.common.attempts import Attempts
from services.common.errors import DeadlineExceededError, InternalError, UnavailableError
from services.common.telemetry import get_logger


def begun() -> Attempts:
    return Attempts(log=get_logger("test"), failure="it cannot be done")


async def do() -> None:
    """Work that succeeds."""


async def be_slow() -> None:
    raise DeadlineExceededError("too slow", reason="DATABASE_DEADLINE_EXCEEDED")


async def break_down() -> None:
    raise ZeroDivisionError


async def lose_the_database() -> None:
    raise UnavailableError("the database does not answer", reason="DATABASE_UNAVAILABLE")


async def test_what_fails_counts_once_it_is_alone() -> None:
    tried = begun()
    with capture_logs() as logged:
        assert not await tried.succeeds(be_slow, ["a", "b"])
        assert not await tried.succeeds(break_down, ["a", "b"])
        assert await tried.succeeds(do, ["c", "d"])
        assert not await tried.succeeds(be_slow, ["a"])
    assert (tried.done, tried.slow, tried.broken, logged) == (2, 1, 0, [])
    assert tried.report("2 users") == "2 users, 1 left for a day: their events take too long to count"


async def test_a_defect_is_logged_by_name_and_told_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MOST_BROKEN", 2)
    tried = begun()
    with capture_logs() as logged:
        await tried.succeeds(break_down, ["a"])
        before = tried.are_given_up
        await tried.succeeds(break_down, ["b"])
    assert [(line["event"], line["name"]) for line in logged] == [
        ("it cannot be done", "a"),
        ("it cannot be done", "b"),
    ]
    assert (before, tried.are_given_up) == (False, True)
    with pytest.raises(InternalError, match=r"^0 users; 2 left for a day by a defect: see the log$"):
        tried.report("0 users")


async def test_what_is_nobodys_fault_ends_the_run() -> None:
    tried = begun()
    with pytest.raises(UnavailableError):
        await tried.succeeds(lose_the_database, ["a"])
    assert (tried.done, tried.slow, tried.broken) == (0, 0, 0)
