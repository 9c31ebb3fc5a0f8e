"""What a job's process says to its parent."""

import json
import os

import pytest

from services.common.errors import FailedPreconditionError
from services.optimizer.job_child import run_child


@pytest.fixture(autouse=True)
def _same_niceness(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own process stays as nice as it is."""
    monkeypatch.setattr(os, "nice", lambda increment: increment)


def test_what_was_done_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> str:
        return "all of it"

    assert run_child(work, keep_on=True) == 0
    assert json.loads(capsys.readouterr().out) == {"summary": "all of it"}


def test_a_refusal_is_said_in_its_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> str:
        raise FailedPreconditionError("too little", reason="DATA_INSUFFICIENT", metadata={"days": "3"})

    assert run_child(work, keep_on=True) == 3
    assert json.loads(capsys.readouterr().out)["refused"] == {
        "code": "FAILED_PRECONDITION",
        "reason": "DATA_INSUFFICIENT",
        "message": "too little",
        "metadata": {"days": "3"},
    }


def test_a_defect_is_for_the_log_and_not_for_the_parent(capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> str:
        raise ZeroDivisionError("a defect")

    assert run_child(work, keep_on=True) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "ZeroDivisionError: a defect" in said.err
