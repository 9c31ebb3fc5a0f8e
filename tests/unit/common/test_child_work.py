"""What a child's process says to its parent, and when it ends: real processes."""

import json
import os
import subprocess
import sys

import pytest

from services.common.child_work import FOLLOW_PARENT
from services.common.errors import FailedPreconditionError, error_from_json

PREFACE = "import asyncio, os, sys\nfrom services.common.child_work import run_child, say_progress\n"


def start(program: str, *, stdin: int = subprocess.DEVNULL, follows: bool = False) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PREFACE + program],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            **({FOLLOW_PARENT: "1"} if follows else {}),
        },
    )


def run(program: str) -> tuple[int, list[object], str]:
    """Run a program by hand, with nothing to read; return its status, what it said, and its errors."""
    with start(program) as process:
        output, errors = process.communicate(timeout=300)
    return process.returncode, [json.loads(line) for line in output.splitlines()], errors


def test_stages_and_the_result_are_said() -> None:
    status, said, _ = run(
        "async def work():\n"
        "    say_progress('fit', 1 / 3)\n"
        "    return {'version': 12}\n"
        "sys.exit(run_child(work))\n"
    )
    assert status == 0
    assert said == [{"stage": "fit", "fraction": 0.333}, {"result": {"version": 12}}]


def test_a_refusal_is_said_in_its_own_words() -> None:
    status, said, errors = run(
        "from services.common.errors import FailedPreconditionError\n"
        "async def work():\n"
        "    days = {'days': '3'}\n"
        "    raise FailedPreconditionError('too little', reason='DATA_INSUFFICIENT', metadata=days)\n"
        "sys.exit(run_child(work))\n"
    )
    assert (status, errors) == (3, "")
    [message] = said
    assert isinstance(message, dict)
    error = error_from_json(message["refused"])
    assert isinstance(error, FailedPreconditionError)
    assert (error.reason, error.message, error.metadata) == ("DATA_INSUFFICIENT", "too little", {"days": "3"})


def test_a_defect_is_for_the_log_and_not_for_the_parent() -> None:
    status, said, errors = run("async def work():\n    return 1 / 0\nsys.exit(run_child(work))\n")
    assert (status, said) == (1, [])
    assert "ZeroDivisionError" in errors


def test_what_is_printed_beside_does_not_disturb_what_the_parent_is_told() -> None:
    """By Python, by what Python starts, and by libraries that write to the descriptor."""
    prints = (
        "import subprocess\n"
        "async def work():\n"
        "    print('fitting', flush=True)\n"
        "    subprocess.run(['echo', 'helping'], check=True)\n"
        "    os.write(1, b'computing\\n')\n"
        "    say_progress('fit', 0.5)\n"
        "    return 12\n"
        "sys.exit(run_child(work))\n"
    )
    with start(prints, stdin=subprocess.PIPE, follows=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = [json.loads(line) for line in process.stdout]
        beside = process.stderr.read()
        assert process.wait(timeout=300) == 0
    assert said == [{"stage": "fit", "fraction": 0.5}, {"result": 12}]
    assert beside.splitlines() == ["fitting", "helping", "computing"]


def test_a_process_ends_with_its_parent() -> None:
    """Its standard input closes as soon as the parent is gone, however the parent went."""
    waits = "async def work():\n    await asyncio.sleep(600)\nsys.exit(run_child(work))\n"
    with start(waits, stdin=subprocess.PIPE, follows=True) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=300) == 4


@pytest.mark.parametrize("closing", ["", "os.close(0)\n", "sys.stdin.close()\n", "sys.stdin = None\n"])
def test_by_hand_it_runs_to_its_end_whatever_it_may_read(closing: str) -> None:
    """A pipe that is at its end is what a shell's pipeline, a cron or a container may give it."""
    works = (
        "async def work():\n"
        "    await asyncio.sleep(0.2)\n"
        "    return os.environ.get('CHILD_FOLLOWS_PARENT')\n"
        "sys.exit(run_child(work))\n"
    )
    with start(closing + works, stdin=subprocess.PIPE) as process:
        output, errors = process.communicate(timeout=300)
    assert (process.returncode, json.loads(output), errors) == (0, {"result": None}, "")


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="SCHED_IDLE is Linux's")
@pytest.mark.parametrize(
    ("options", "policy", "niceness"),
    [("", "SCHED_OTHER", 10), (", niceness=19, only_idle=True", "SCHED_IDLE", 19)],
)
def test_requests_go_first(options: str, policy: str, niceness: int) -> None:
    """In a process of its own, since a priority once given up cannot be taken back."""
    before = os.nice(0)
    _, said, _ = run(
        "async def work():\n"
        "    return [os.sched_getscheduler(0), os.nice(0)]\n"
        f"sys.exit(run_child(work{options}))\n"
    )
    assert said == [{"result": [getattr(os, policy), min(before + niceness, 19)]}]
