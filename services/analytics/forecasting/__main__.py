"""`python -m services.analytics.forecasting`: make all forecasts anew, or report their backtests.

Started by the serving process (`forecasting_process.py`), or by hand with the settings of the service. `run`
(the default) writes lines of JSON to standard output, the last of them `{"summary"}`, or `{"refused": {code,
reason, message}}` with exit status 3. `backtest` prints a table by series and keeps nothing.
"""

import argparse
import asyncio
import json
import os
import stat
import sys
import threading
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from services.analytics.domain.forecasts import last_whole_day
from services.analytics.domain.periods import day_of
from services.analytics.forecasting.history import campaign_subjects, portfolio_subjects, read_history
from services.analytics.forecasting.report import Row, judge_series, judge_subjects, print_report, read_csv
from services.analytics.forecasting.run import RunSummary, run_forecasts
from services.analytics.settings import AnalyticsSettings
from services.analytics.store.data_version import MARK_WRITE
from services.common.database import Database
from services.common.errors import DomainError
from services.common.settings import load_settings

_NICENESS = 10
_STATEMENT_SECONDS = 600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run or report; returns 0, 1 after a failure, 3 after a refusal."""
    parser = argparse.ArgumentParser(prog="python -m services.analytics.forecasting", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", help="make all forecasts anew (the default)")
    backtest = commands.add_parser("backtest", help="print backtests by series; keep nothing")
    backtest.add_argument(
        "--file", type=Path, help="a CSV with the columns series, day, value instead of the database"
    )
    parsed = parser.parse_args(arguments)
    if parsed.command == "backtest":
        return _print_backtests(parsed.file)
    os.nice(_NICENESS)  # requests go first
    if not stat.S_ISCHR(os.fstat(sys.stdin.fileno()).st_mode):  # not a terminal, not /dev/null: a parent's
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        summary = asyncio.run(_run(load_settings(AnalyticsSettings)))
    except DomainError as error:
        _say({"refused": {"code": error.code, "reason": error.reason, "message": error.message}})
        return 3
    except Exception:  # noqa: BLE001 (the process boundary: the parent is told by the exit status)
        traceback.print_exc()
        return 1
    _say({"summary": str(summary)})
    return 0


async def _open(settings: AnalyticsSettings) -> Database:
    return await Database.open(
        settings.database_url,
        application_name="analytics-forecasting",
        max_size=1,
        statement_timeout_seconds=_STATEMENT_SECONDS,
        mark_write=MARK_WRITE,
    )


async def _run(settings: AnalyticsSettings) -> RunSummary:
    database = await _open(settings)
    try:
        return await run_forecasts(
            database,
            zone=ZoneInfo(settings.reporting_time_zone),
            clock=lambda: datetime.now(UTC),
            on_progress=lambda stage, fraction: _say({"stage": stage, "fraction": round(fraction, 3)}),
        )
    finally:
        await database.close()


def _print_backtests(path: Path | None) -> int:
    try:
        rows = (
            [judge_series(series) for series in read_csv(path)]
            if path is not None
            else asyncio.run(_judge_database(load_settings(AnalyticsSettings)))
        )
    except DomainError as error:
        sys.stderr.write(f"{error.message}\n")
        return 3
    for line in print_report(rows):
        sys.stdout.write(line + "\n")
    return 0


async def _judge_database(settings: AnalyticsSettings) -> Sequence[Row]:
    zone = ZoneInfo(settings.reporting_time_zone)
    database = await _open(settings)
    try:
        last_day = last_whole_day(day_of(datetime.now(UTC), zone))
        async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
            stored = await read_history(connection, last_day, zone)
    finally:
        await database.close()
    return list(judge_subjects(chain(portfolio_subjects(stored, zone), campaign_subjects(stored, zone))))


def _end_with_parent() -> None:
    """Wait for the end of standard input, which comes with the end of the parent, and end."""
    while os.read(sys.stdin.fileno(), 1):  # not buffered: a buffer's lock would outlive the interpreter
        pass
    os._exit(4)


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
