"""`python -m services.analytics.forecasting`: make all forecasts anew, or report their backtests.

Started by the serving process (`forecasting_process.py`), or by hand with the settings of the service. `run`
(the default) has as its result what was made, in one line. `backtest` prints a table by series and keeps
nothing.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from zoneinfo import ZoneInfo

from services.analytics.domain.forecasts import last_whole_day
from services.analytics.domain.periods import day_of
from services.analytics.forecasting.history import campaign_subjects, portfolio_subjects, read_history
from services.analytics.forecasting.report import Row, judge_series, judge_subjects, print_report, read_csv
from services.analytics.forecasting.run import run_forecasts
from services.analytics.settings import AnalyticsSettings
from services.analytics.store.data_version import MARK_WRITE
from services.common.child_work import run_child, say_progress
from services.common.database import Database
from services.common.errors import DomainError
from services.common.settings import load_settings

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
    settings = load_settings(AnalyticsSettings)
    return run_child(lambda: _run(settings))


async def _open(settings: AnalyticsSettings) -> Database:
    return await Database.open(
        settings.database_url,
        application_name="analytics-forecasting",
        max_size=1,
        statement_timeout_seconds=_STATEMENT_SECONDS,
        mark_write=MARK_WRITE,
    )


async def _run(settings: AnalyticsSettings) -> str:
    database = await _open(settings)
    try:
        made = await run_forecasts(
            database,
            zone=ZoneInfo(settings.reporting_time_zone),
            clock=lambda: datetime.now(UTC),
            on_progress=say_progress,
        )
        return str(made)
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


if __name__ == "__main__":
    sys.exit(main())
