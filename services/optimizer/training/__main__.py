"""`python -m services.optimizer.training --end-day 2026-11-20`: one training, in this process.

With `--drift` nothing is trained: the live version is measured on the days since its training. Run by the
serving process (`training_process.py`), or by hand with OPTIMIZER_DATABASE_URL and MODEL_REPOSITORY set.
Its result is the version. One that it makes is never live: the serving process makes it so once the model
server serves it.
"""

import argparse
import sys
from collections.abc import Coroutine
from datetime import date
from typing import Any
from uuid import UUID

from services.common.child_work import run_child, say_progress
from services.common.settings import load_settings
from services.optimizer.settings import OptimizerSettings
from services.optimizer.training.readiness import require_any_data

_NICENESS = 19


def main() -> int:
    """Train once; returns 0 with a version, 1 after a failure, 3 after a refusal."""
    parser = argparse.ArgumentParser(prog="python -m services.optimizer.training", description=__doc__)
    parser.add_argument("--end-day", type=date.fromisoformat, required=True, help="train on days before it")
    parser.add_argument("--training-id", type=UUID, help="its record in the table trainings, if it has one")
    parser.add_argument("--drift", action="store_true", help="measure the live version instead of training")
    arguments = parser.parse_args()
    settings = load_settings(OptimizerSettings)

    def work() -> Coroutine[Any, Any, int]:
        if arguments.drift:
            return _measure_drift(settings, arguments.end_day)
        return _train(settings, arguments.end_day, arguments.training_id)

    return run_child(work, niceness=_NICENESS, only_idle=settings.training_priority == "idle")


async def _measure_drift(settings: OptimizerSettings, end_day: date) -> int:
    from services.optimizer.training.drift_run import measure_live_drift  # noqa: PLC0415 (as below)

    return await measure_live_drift(settings, end_day)


async def _train(settings: OptimizerSettings, end_day: date, training_id: UUID | None) -> int:
    await require_any_data(settings, end_day)
    from services.optimizer.training.run import run_training  # noqa: PLC0415 (seconds, many when idle only)

    return await run_training(settings, end_day, on_progress=say_progress, training_id=training_id)


if __name__ == "__main__":
    sys.exit(main())
