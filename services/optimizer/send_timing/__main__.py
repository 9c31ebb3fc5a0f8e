"""`python -m services.optimizer.send_timing`: keep users' send times up to date.

Run by the serving process (`send_time_process.py`), or by hand with OPTIMIZER_DATABASE_URL set. Its result is
what was done, in one line.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from services.common.child_work import run_child
from services.common.database import Database
from services.common.settings import load_settings
from services.optimizer.domain.send_time.send_time import QuietHours
from services.optimizer.operations.send_times import SendTimeOperations
from services.optimizer.settings import OptimizerSettings

_STATEMENT_SECONDS = 600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Refresh; returns 0 when it is done, 1 after a failure, 3 after a refusal."""
    parser = argparse.ArgumentParser(prog="python -m services.optimizer.send_timing", description=__doc__)
    settings = load_settings(OptimizerSettings)
    parser.add_argument("--quiet-start-hour", type=int, default=settings.quiet_start_hour)
    parser.add_argument("--quiet-end-hour", type=int, default=settings.quiet_end_hour)
    parser.add_argument("--profile-hours", type=float, default=settings.send_time_profile_hours)
    parsed = parser.parse_args(arguments)
    return run_child(
        lambda: _refresh(
            settings.database_url,
            QuietHours(start=parsed.quiet_start_hour, end=parsed.quiet_end_hour),
            timedelta(hours=parsed.profile_hours),
        )
    )


async def _refresh(database_url: str, quiet: QuietHours, refit: timedelta) -> str:
    database = await Database.open(
        database_url,
        application_name="optimizer-send-times",
        max_size=2,
        statement_timeout_seconds=_STATEMENT_SECONDS,
    )
    try:
        send_times = SendTimeOperations(database, now=lambda: datetime.now(UTC), quiet=quiet, refit=refit)
        return await send_times.refresh()
    finally:
        await database.close()


if __name__ == "__main__":
    sys.exit(main())
