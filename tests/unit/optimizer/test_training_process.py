"""Following a training process, whatever becomes of it; a small program stands in for the training."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from services.common.errors import (
    AbortedError,
    DeadlineExceededError,
    DomainError,
    FailedPreconditionError,
    InternalError,
)
from services.optimizer import training_process
from services.optimizer.domain.training_progress import TrainingProgress
from services.optimizer.training_process import TrainingProcess

DAY = date(2026, 3, 2)
SETTINGS = {"OPTIMIZER_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what makes a program the training, in a package root of its own."""
    package = tmp_path / "services/optimizer/training"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").touch()
    monkeypatch.setattr(training_process, "_ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)

    def become(program: str) -> None:
        (package / "__main__.py").write_text(program)

    return become


def process_of(folder: Path) -> int:
    return int((folder / "pid").read_text())


def process(seconds: float = 30.0) -> TrainingProcess:
    return TrainingProcess(database_url="postgresql://x", repository=Path("models"), timeout_seconds=seconds)


def process_with(priority: str) -> TrainingProcess:
    return TrainingProcess(
        database_url="postgresql://x", repository=Path("models"), timeout_seconds=30.0, priority=priority
    )


async def failure(seconds: float = 30.0) -> DomainError:
    with pytest.raises(DomainError) as failed:
        await process(seconds).run(DAY, lambda _: None)
    return failed.value


async def test_progress_is_passed_on_and_the_version_returned(stand_in: Callable[[str], None]) -> None:
    stand_in(
        "import json, os, sys\n"
        "assert sys.argv[1:] == ['--end-day', '2026-03-02'], sys.argv\n"
        "assert os.environ['OPTIMIZER_DATABASE_URL'] == 'postgresql://x'\n"
        "assert os.path.isabs(os.environ['MODEL_REPOSITORY'])\n"
        "print(json.dumps({'stage': 'read_data', 'fraction': 0.25}), flush=True)\n"
        "print(json.dumps({'version': 12}))\n"
    )
    heard: list[TrainingProgress] = []
    assert await process().run(DAY, heard.append) == 12
    assert heard == [TrainingProgress(stage="read_data", fraction=0.25)]


async def test_a_refusal_keeps_its_code_reason_and_words(stand_in: Callable[[str], None]) -> None:
    refused = {
        "code": "FAILED_PRECONDITION",
        "reason": "DATA_INSUFFICIENT",
        "message": "too little",
        "metadata": {"days": "3"},
    }
    stand_in(f"import json, sys\nprint(json.dumps({{'refused': {refused!r}}}))\nsys.exit(3)\n")
    error = await failure()
    assert isinstance(error, FailedPreconditionError)
    assert (error.reason, error.message, error.metadata) == (
        "DATA_INSUFFICIENT",
        "too little",
        {"days": "3"},
    )


async def test_a_killed_training_is_aborted(stand_in: Callable[[str], None]) -> None:
    stand_in("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    error = await failure()
    assert isinstance(error, AbortedError)
    assert "SIGKILL" in error.message


async def test_a_crash_is_internal_and_shows_nothing(stand_in: Callable[[str], None]) -> None:
    stand_in("raise RuntimeError('secret')\n")
    error = await failure()
    assert isinstance(error, InternalError)
    assert "secret" not in error.message


async def test_a_training_over_its_time_is_killed(stand_in: Callable[[str], None], tmp_path: Path) -> None:
    stand_in("import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(60)\n")
    error = await failure(seconds=1.0)
    assert isinstance(error, DeadlineExceededError)
    with pytest.raises(ProcessLookupError):
        os.kill(process_of(tmp_path), 0)


async def test_cancelling_kills_the_process(stand_in: Callable[[str], None], tmp_path: Path) -> None:
    stand_in(
        "import json, os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\n"
        "print(json.dumps({'stage': 'x', 'fraction': 0}), flush=True)\ntime.sleep(60)\n"
    )
    started = asyncio.Event()
    training = asyncio.create_task(process().run(DAY, lambda _: started.set()))
    await asyncio.wait_for(started.wait(), 30)
    training.cancel()
    with pytest.raises(asyncio.CancelledError):
        await training
    with pytest.raises(ProcessLookupError):
        os.kill(process_of(tmp_path), 0)


def start_training(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "services.optimizer.training", "--end-day", "2026-03-02", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **SETTINGS},
    )


def test_a_database_that_does_not_answer_is_told_in_words() -> None:
    output, errors = start_training("--keep-on").communicate(timeout=60)
    assert '"code": "UNAVAILABLE"' in output
    assert '"reason": "DATABASE_UNAVAILABLE"' in output
    assert "Traceback" not in errors


def test_a_training_ends_with_its_parent() -> None:
    """Its standard input closes as soon as the parent is gone, however the parent went."""
    training = start_training()
    assert training.stdin is not None
    training.stdin.close()
    assert training.wait(timeout=60) in {3, 4}


def test_a_training_can_be_interrupted_by_signal() -> None:
    training = start_training()
    training.send_signal(signal.SIGKILL)
    assert training.wait(timeout=60) == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="SCHED_IDLE is Linux's")
@pytest.mark.parametrize(("priority", "policy"), [("idle", "SCHED_IDLE"), ("low", "SCHED_OTHER")])
def test_a_training_takes_no_more_of_the_cores_than_the_setting_says(priority: str, policy: str) -> None:
    """In a process of its own, since a priority once given up cannot be taken back."""
    program = (
        "import os\n"
        "from services.common.settings import load_settings\n"
        "from services.optimizer.settings import OptimizerSettings\n"
        "from services.optimizer.training import __main__ as training\n"
        "settings = load_settings(OptimizerSettings)\n"
        "training._yield_to_requests(only_idle=settings.training_priority == 'idle')\n"
        "print(os.sched_getscheduler(0), os.nice(0))\n"
    )
    environment = process_with(priority)._environment()
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == [str(getattr(os, policy)), "19"]
