"""`python -m services.optimizer.training --end-day 2026-11-20`: one training, in this process.

With `--drift` nothing is trained: the live version is measured on the days since its training. Run by the
serving process (`training_process.py`), or by hand with OPTIMIZER_DATABASE_URL and MODEL_REPOSITORY set.
Writes lines of JSON to standard output. A version that it makes is never live: the serving process makes it
so once the model server serves it.
"""

import argparse
import asyncio
import json
import os
import sys
import threading
import traceback
from datetime import date
from typing import Any
from uuid import UUID

from services.common.errors import DomainError
from services.common.settings import load_settings
from services.optimizer.settings import OptimizerSettings
from services.optimizer.training.drift_run import measure_live_drift
from services.optimizer.training.run import run_training

_NICENESS = 19


def main() -> int:
    """Train once; returns 0 with a version, 1 after a failure, 3 after a refusal."""
    parser = argparse.ArgumentParser(prog="python -m services.optimizer.training", description=__doc__)
    parser.add_argument("--end-day", type=date.fromisoformat, required=True, help="train on days before it")
    parser.add_argument("--training-id", type=UUID, help="its record in the table trainings, if it has one")
    parser.add_argument("--drift", action="store_true", help="measure the live version instead of training")
    parser.add_argument("--keep-on", action="store_true", help="do not end when standard input closes")
    arguments = parser.parse_args()
    settings = load_settings(OptimizerSettings)
    _yield_to_requests(only_idle=settings.training_priority == "idle")
    if not arguments.keep_on:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        if arguments.drift:
            version = asyncio.run(measure_live_drift(settings, arguments.end_day))
        else:
            training = run_training(
                settings,
                arguments.end_day,
                on_progress=_say_progress,
                training_id=arguments.training_id,
            )
            version = asyncio.run(training)
    except DomainError as error:
        refused = {
            "code": error.code,
            "reason": error.reason,
            "message": error.message,
            "metadata": error.metadata,
        }
        _say({"refused": refused})
        return 3
    except Exception:  # noqa: BLE001 (the process boundary: the parent is told by the exit status)
        traceback.print_exc()
        return 1
    _say({"version": version})
    return 0


def _yield_to_requests(*, only_idle: bool) -> None:
    """Let requests go first, and with `only_idle`, where Linux can, never wait for this process's turn."""
    os.nice(_NICENESS)
    if only_idle and hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _end_with_parent() -> None:
    """Wait for the end of standard input, which comes with the end of the parent, and end."""
    while os.read(sys.stdin.fileno(), 1):  # not buffered: a buffer's lock would outlive the interpreter
        pass
    os._exit(4)


def _say_progress(stage: str, fraction: float) -> None:
    _say({"stage": stage, "fraction": round(fraction, 3)})


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
