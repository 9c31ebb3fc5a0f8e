"""Following a training process, whatever becomes of it; a small program stands in for the training."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from uuid import UUID

import pytest

from services.common.errors import AbortedError
from services.optimizer.domain.models.training_progress import TrainingProgress
from services.optimizer.training_process import TrainingProcess

StandIn = Callable[[str, str], None]
DAY = date(2026, 3, 2)
ID = UUID(int=7)
SETTINGS = {"OPTIMIZER_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}


def process() -> TrainingProcess:
    return TrainingProcess(
        database_url="postgresql://x", repository=Path("models"), timeout_seconds=300.0, max_samples=5
    )


async def test_progress_is_passed_on_and_the_version_returned(stand_in: StandIn) -> None:
    stand_in(
        "training",
        "import json, os, sys\n"
        f"assert sys.argv[1:] == ['--end-day', '2026-03-02', '--training-id', '{ID}'], sys.argv\n"
        "assert os.environ['OPTIMIZER_DATABASE_URL'] == 'postgresql://x'\n"
        "assert os.environ['OPTIMIZER_TRAINING_MAX_SAMPLES'] == '5'\n"
        "assert os.path.isabs(os.environ['MODEL_REPOSITORY'])\n"
        "print(json.dumps({'stage': 'read_data', 'fraction': 0.25}), flush=True)\n"
        "print(json.dumps({'result': 12}))\n",
    )
    heard: list[TrainingProgress] = []
    assert await process().run(DAY, heard.append, training_id=ID) == 12
    assert heard == [TrainingProgress(stage="read_data", fraction=0.25)]


async def test_a_killed_training_is_aborted(stand_in: StandIn) -> None:
    stand_in("training", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    with pytest.raises(AbortedError) as failed:
        await process().measure_drift(DAY)
    assert failed.value.message == "the training was killed (SIGKILL); nothing was published"


def test_a_database_that_does_not_answer_is_told_in_words() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "services.optimizer.training", "--end-day", "2026-03-02"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **SETTINGS},
        timeout=300,
        check=False,
    )
    assert ended.returncode == 3
    assert '"code": "UNAVAILABLE"' in ended.stdout
    assert '"reason": "DATABASE_UNAVAILABLE"' in ended.stdout
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="SCHED_IDLE is Linux's")
@pytest.mark.parametrize(("priority", "policy"), [("idle", "SCHED_IDLE"), ("low", "SCHED_OTHER")])
def test_a_training_takes_no_more_of_the_cores_than_the_setting_says(priority: str, policy: str) -> None:
    """In a process of its own, since a priority once given up cannot be taken back."""
    program = (
        "import os\n"
        "from services.optimizer.training import __main__ as training\n"
        "async def look(*_, **__):\n"
        "    return [os.sched_getscheduler(0), os.nice(0)]\n"
        "training._train = look\n"
        "training.main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, "--end-day", "2026-03-02"],
        env={**os.environ, **SETTINGS, "OPTIMIZER_TRAINING_PRIORITY": priority},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(ended.stdout) == {"result": [getattr(os, policy), 19]}
