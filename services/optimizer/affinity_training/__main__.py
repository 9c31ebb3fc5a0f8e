"""`python -m services.optimizer.affinity_training fit` (or `refresh`): keep users' merchants up to date.

Run by the serving process (`affinity_process.py`), or by hand with OPTIMIZER_DATABASE_URL set. Its result is
what was done, in one line.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from services.common.child_work import run_child, say_progress
from services.common.database import Database
from services.common.settings import load_settings
from services.optimizer.affinity_training.run import require_contacts, run_refresh
from services.optimizer.settings import OptimizerSettings

_STATEMENT_SECONDS = 600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit or refresh; returns 0 when it is done, 1 after a failure, 3 after a refusal."""
    parser = argparse.ArgumentParser(
        prog="python -m services.optimizer.affinity_training", description=__doc__
    )
    parser.add_argument("work", choices=["fit", "refresh"], help="a new model, or the users of late")
    parsed = parser.parse_args(arguments)
    settings = load_settings(OptimizerSettings)
    return run_child(lambda: _work(settings, is_fit=parsed.work == "fit"))


async def _work(settings: OptimizerSettings, *, is_fit: bool) -> str:
    database = await Database.open(
        settings.database_url,
        application_name="optimizer-affinity",
        max_size=2,
        statement_timeout_seconds=_STATEMENT_SECONDS,
    )
    try:
        if not is_fit:
            return await run_refresh(database, now=lambda: datetime.now(UTC))
        await require_contacts(database, datetime.now(UTC))
        from services.optimizer.affinity_training.run_fit import run_fit  # noqa: PLC0415 (seconds of imports)

        return await run_fit(database, now=lambda: datetime.now(UTC), on_progress=say_progress)
    finally:
        await database.close()


if __name__ == "__main__":
    sys.exit(main())
