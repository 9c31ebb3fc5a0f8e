"""Following a process of its own, whatever becomes of it: real processes, and small programs in them."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.common import child_process, followed_process
from services.common.child_process import ChildProcess
from services.common.errors import (
    AbortedError,
    DeadlineExceededError,
    DomainError,
    InternalError,
    InvalidArgumentError,
    invalid_field,
)

Become = Callable[[str], None]
LIMIT_SECONDS = 290.0
"""For what hangs; of a descendant that nobody waits for, less than it sleeps."""
A_CHILD = ChildProcess(
    module="stand_in", subject="the work", what_stays="what was kept stays", timeout_seconds=LIMIT_SECONDS
)
PID = "import os, pathlib\npathlib.Path('new').write_text(str(os.getpid()))\nos.rename('new', 'pid')\n"
"""Leaves the process's id in a file, which is whole once it is there."""
DESCENDANT = (
    "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']{})\n"
)
"""Starts a process that holds the standard output of the one that starts it."""
UNTIL_THE_END = "import sys\nsys.stdin.read()\n"


@pytest.fixture
def become(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Become:
    """Return what makes a program the child; it runs in a folder of its own."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def write(program: str) -> None:
        (tmp_path / "stand_in.py").write_text(program)

    return write


async def failure(work: Awaitable[object]) -> DomainError:
    with pytest.raises(DomainError) as failed:
        await work
    return failed.value


def has_begun() -> bool:
    return Path("pid").exists()


def assert_ended() -> None:
    """Hold that the child that left its id has ended, and forget it."""
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("pid").read_text()), 0)
    Path("pid").unlink()


async def test_a_result_comes_with_arguments_settings_and_stages(become: Become) -> None:
    become(
        "import json, os, sys\n"
        "import services.common.errors\n"
        "print(json.dumps({'stage': 'read', 'fraction': 0.25}), flush=True)\n"
        "print(json.dumps({'stage': 'fit', 'fraction': 0.5}))\n"
        "print(json.dumps({'result': [sys.argv[1:], os.environ['SETTING'], sys.stdin.readline()]}))\n"
    )
    stages: list[tuple[str, float]] = []
    child = ChildProcess(module="stand_in", subject="the work", environment={"SETTING": "told"})
    result = await child.run("--days", "3", told=b"a line", on_progress=lambda *stage: stages.append(stage))
    assert result == [["--days", "3"], "told", "a line\n"]
    assert stages == [("read", 0.25), ("fit", 0.5)]


async def test_a_child_has_one_thread_for_algebra_unless_the_operator_says_otherwise(
    become: Become, monkeypatch: pytest.MonkeyPatch
) -> None:
    become("import json, os\nprint(json.dumps({'result': os.environ['OPENBLAS_NUM_THREADS']}))\n")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert await A_CHILD.run() == "1"
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "4")
    assert await A_CHILD.run() == "4"


async def test_a_result_may_be_long(become: Become) -> None:
    become("import json\nprint(json.dumps({'result': 'x' * 1_000_000}))\n")
    assert await A_CHILD.run() == "x" * 1_000_000


async def test_a_refusal_arrives_whole(become: Become) -> None:
    refusal = invalid_field("end_day", "must not be in the future")
    become(
        "from services.common.child_work import run_child\n"
        "from services.common.errors import invalid_field\n"
        "async def work():\n"
        "    refusal = invalid_field('end_day', 'must not be in the future')\n"
        "    refusal.metadata['days'] = '3'\n"
        "    raise refusal\n"
        "raise SystemExit(run_child(work))\n"
    )
    error = await failure(A_CHILD.run())
    assert isinstance(error, InvalidArgumentError)
    assert (error.message, error.reason, error.violations) == (
        refusal.message,
        refusal.reason,
        refusal.violations,
    )
    assert error.metadata == {"days": "3"}


@pytest.mark.parametrize(
    "program",
    [
        "raise RuntimeError('secret')",
        "import os; os._exit(1)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "pass",
        'print(\'{"stage": "fit", "fraction": 0.5}\')',
        "print('{\"result\": 1}'); raise SystemExit(1)",
    ],
    ids=["defect", "crash", "kill", "nothing", "no result", "failed at the end"],
)
async def test_a_child_that_breaks_off_is_an_internal_error(become: Become, program: str) -> None:
    become(program)
    error = await failure(A_CHILD.run())
    assert isinstance(error, InternalError)
    assert error.message == "the work broke off; what was kept stays"


async def test_a_killed_child_is_told_from_a_broken_one_where_that_has_a_reason(become: Become) -> None:
    become("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n")
    child = ChildProcess(module="stand_in", subject="the work", killed_reason="TRAINING_STOPPED")
    error = await failure(child.run())
    assert isinstance(error, AbortedError)
    assert (error.message, error.reason) == ("the work was killed (SIGTERM)", "TRAINING_STOPPED")
    become("raise SystemExit(1)")
    assert isinstance(await failure(child.run()), InternalError)


@pytest.mark.parametrize(
    "said",
    [
        "print('hello', flush=True)",
        "print('[1]', flush=True)",
        "print('{}', flush=True)",
        "print('[' * 100_000, flush=True)",
        "os.write(1, b'\\xff\\n')",
        'print(\'{"stage": "fit"}\', flush=True)',
        'print(\'{"stage": "fit", "fraction": null}\', flush=True)',
        "print('{\"refused\": 1}', flush=True)",
        'print(\'{"refused": {"code": "ABORTED"}}\', flush=True)',
        'print(\'{"refused": {"code": [], "message": "", "reason": ""}}\', flush=True)',
    ],
)
async def test_a_child_that_makes_no_sense_is_ended(become: Become, said: str) -> None:
    become(f"{PID}{said}\n{UNTIL_THE_END}")
    error = await failure(A_CHILD.run())
    assert isinstance(error, InternalError)
    assert error.message == "the work broke off; what was kept stays"
    assert_ended()


async def test_a_child_that_says_too_much_in_a_line_is_ended(
    become: Become, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_process, "LONGEST_LINE_BYTES", 1_000)
    become(f"{PID}print('x' * 5_000, flush=True)\n{UNTIL_THE_END}")
    assert isinstance(await failure(A_CHILD.run()), InternalError)
    assert_ended()


async def test_a_child_that_takes_too_long_is_ended(become: Become) -> None:
    become(UNTIL_THE_END)
    child = ChildProcess(
        module="stand_in",
        subject="the work",
        timeout_seconds=0.2,
        timeout_reason="SIMULATION_TOO_LARGE",
        remedy="ask for less",
    )
    error = await failure(child.run())
    assert isinstance(error, DeadlineExceededError)
    assert error.reason == "SIMULATION_TOO_LARGE"
    assert error.message == "the work took longer than 0.2 seconds and had to be stopped; ask for less"


async def test_nobody_waits_for_what_a_child_has_started(
    become: Become, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with the child: its hold on the output would last longer than the test."""
    monkeypatch.setattr(followed_process, "DRAIN_SECONDS", 600.0)
    become(DESCENDANT.format("") + PID + "print('{\"result\": 1}')\n")
    assert await asyncio.wait_for(A_CHILD.run(), LIMIT_SECONDS) == 1
    assert_ended()
    become(DESCENDANT.format("") + PID + "import os\nos.kill(os.getpid(), 9)\n")
    assert isinstance(await failure(asyncio.wait_for(A_CHILD.run(), LIMIT_SECONDS)), InternalError)
    assert_ended()


async def test_nor_for_what_one_has_started_that_takes_too_long(
    become: Become, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed_process, "DRAIN_SECONDS", 600.0)
    become(DESCENDANT.format("") + PID + UNTIL_THE_END)
    seconds = 1.0
    while not has_begun():  # it took too long before it had started anything
        child = ChildProcess(module="stand_in", subject="the work", timeout_seconds=seconds)
        error = await failure(asyncio.wait_for(child.run(), LIMIT_SECONDS))
        assert isinstance(error, DeadlineExceededError)
        seconds *= 2
    assert_ended()


async def test_output_ends_soon_after_a_child_though_what_left_its_session_holds_it(
    become: Become, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed_process, "DRAIN_SECONDS", 0.2)
    become(
        DESCENDANT.format(", start_new_session=True").replace("subprocess.Popen(", "left = subprocess.Popen(")
        + "import json\nprint(json.dumps({'result': left.pid}))\n"
    )
    left = await asyncio.wait_for(A_CHILD.run(), LIMIT_SECONDS)
    assert isinstance(left, int)
    os.kill(left, signal.SIGKILL)  # it is still there, and nobody's


async def test_a_child_that_never_stops_talking_is_ended(become: Become) -> None:
    become(
        PID
        + "import sys\nprint('nonsense', flush=True)\nwhile True:\n    sys.stdout.write('x' * 999 + '\\n')\n"
    )
    assert isinstance(await failure(asyncio.wait_for(A_CHILD.run(), LIMIT_SECONDS)), InternalError)
    assert_ended()


async def test_a_child_is_ended_with_whoever_waits_for_it(become: Become) -> None:
    become(f'{PID}print(\'{{"stage": "fit", "fraction": 0}}\', flush=True)\n{UNTIL_THE_END}')
    started = asyncio.Event()
    waiting = asyncio.create_task(A_CHILD.run(on_progress=lambda *_: started.set()))
    await asyncio.wait_for(started.wait(), LIMIT_SECONDS)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert_ended()


async def test_a_child_is_ended_where_nobody_can_hear_its_progress(become: Become) -> None:
    def break_off(_stage: str, _fraction: float) -> None:
        raise ConnectionError("whoever listened is gone")

    become(f'{PID}print(\'{{"stage": "fit", "fraction": 0}}\', flush=True)\n{UNTIL_THE_END}')
    with pytest.raises(ConnectionError):
        await A_CHILD.run(on_progress=break_off)
    assert_ended()


async def test_a_process_that_cannot_be_started_is_the_systems_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(FileNotFoundError):
        await A_CHILD.run()


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name
)
def test_no_child_outlives_its_service(become: Become, number: signal.Signals) -> None:
    """All write to one pipe of errors, whose end comes once none of them is there any more.

    SIGINT is what a terminal's Ctrl-C sends the service, and not the child in its session of its own.
    """
    become(
        "import asyncio, sys\n" + DESCENDANT.format("") + "from services.common.child_work import run_child\n"
        "async def work():\n"
        "    print('started', file=sys.stderr, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "raise SystemExit(run_child(work))\n"
    )
    program = (
        "import asyncio\n"
        "from services.common.child_process import ChildProcess\n"
        "asyncio.run(ChildProcess(module='stand_in', subject='the work').run())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as service:
        assert service.stderr is not None
        assert service.stderr.readline() == b"started\n"
        service.send_signal(number)
        errors = service.communicate(timeout=LIMIT_SECONDS)[1]
    assert (b"KeyboardInterrupt" in errors) is (number is signal.SIGINT)
