"""What operators do from a shell beside a running service: reconcile, rebuild and forecast."""

from argparse import ArgumentParser, Namespace
from time import monotonic

from services.analytics.forecasting_process import ForecastingProcess
from services.analytics.operations.changes import Changes
from services.analytics.operations.recount import RecountOperations, judge
from services.analytics.server import open_database
from services.analytics.settings import AnalyticsSettings
from services.common.cli import Command


async def reconcile(settings: AnalyticsSettings, _arguments: Namespace) -> int:
    """Compare every rollup with a recount; print each with its differences; return 1 if there are any."""
    started, comparisons = monotonic(), []
    async with open_database(settings) as database:
        async for comparison in RecountOperations(database).compare():
            comparisons.append(comparison)
            count = comparison.difference_count
            said = f"{count} rows differ" if count else "equal"
            _tell(f"{comparison.rollup}: {comparison.compared} rows, {said} ({monotonic() - started:.1f} s)")
            for difference in comparison.differences:
                _tell(f"{difference.rollup}: {difference.side}: {difference.content}")
    verdict = judge(comparisons)
    _tell(str(verdict))
    return 1 if verdict.differing else 0


async def rebuild(settings: AnalyticsSettings, arguments: Namespace) -> int:
    """Count every rollup again, in another reporting zone if one is named."""
    started = monotonic()
    async with open_database(settings) as database:
        zone = await RecountOperations(database).rebuild(
            arguments.reporting_time_zone,
            tell=lambda rollup: _tell(f"{rollup} is counted again ({monotonic() - started:.1f} s)"),
        )
        changes = Changes(database, lambda _topics: None)
        changes.mark_everything()
        await changes.flush()
    _tell(f"every rollup is counted again, in the days of {zone}")
    return 0


async def forecast(settings: AnalyticsSettings, _arguments: Namespace) -> int:
    """Make every forecast anew, whether it is due or not."""
    started = monotonic()
    summary = await ForecastingProcess(
        database_url=settings.database_url,
        reporting_time_zone=settings.reporting_time_zone,
        timeout_seconds=settings.forecast_timeout_seconds,
        on_progress=lambda stage, share: _tell(f"{stage}: {share:.0%} ({monotonic() - started:.1f} s)"),
    ).run()
    _tell(summary)
    return 0


def _tell(line: str) -> None:
    print(line, flush=True)  # noqa: T201 (a command's answer)


def _add_rebuild_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--reporting-time-zone", help="IANA zone to count in from now on")


COMMANDS = {
    "reconcile": Command(help="compare every rollup with a recount; 1 if any differs", run=reconcile),
    "rebuild": Command(
        help="count every rollup again from the events", run=rebuild, arguments=_add_rebuild_arguments
    ),
    "forecast": Command(help="make every forecast anew, in a process of its own", run=forecast),
}
