"""The jobs of analytics."""

from collections.abc import Awaitable, Callable, Sequence
from zoneinfo import ZoneInfo

from services.analytics.operations.alerts import AlertOperations
from services.analytics.operations.recount import RecountOperations, judge
from services.analytics.operations.rolling import RollingOperations
from services.common.errors import InternalError
from services.common.jobs import DailyAt, Every, Job

ROLL_SECONDS = 60
"""How long after midnight the last 30 days may be those of the day before; reads then take daily rows."""


def build_jobs(
    *,
    alerts: AlertOperations,
    alert_seconds: float,
    recount: RecountOperations,
    rolling: RollingOperations,
    attribute: Callable[[], Awaitable[str]],
    attribution_seconds: float,
    zone: ZoneInfo,
) -> Sequence[Job]:
    """Return every job of analytics; the same in all replicas.

    The operations given here work on the jobs' own connections; `attribute` runs attribution once, every
    `attribution_seconds`.
    """
    return [
        Job(
            name="alerts",
            schedule=Every(seconds=alert_seconds),
            run=lambda _context: _evaluate(alerts),
        ),
        Job(
            name="reconcile",
            schedule=DailyAt(hour=4, zone=zone),
            run=lambda _context: _reconcile(recount),
        ),
        Job(
            name="attribution",
            schedule=Every(seconds=attribution_seconds),
            run=lambda _context: attribute(),
        ),
        Job(
            name="roll_last_30_days",
            schedule=Every(seconds=ROLL_SECONDS),
            run=lambda _context: _roll(rolling),
        ),
    ]


async def _evaluate(alerts: AlertOperations) -> str:
    return str(await alerts.evaluate())


async def _reconcile(recount: RecountOperations) -> str:
    """Fail where any rollup differs from a recount, so that operators see it."""
    verdict = judge([comparison async for comparison in recount.compare()])
    if verdict.differing:
        raise InternalError(f"{verdict}; the command reconcile shows some of them", reason="INTERNAL")
    return str(verdict)


async def _roll(rolling: RollingOperations) -> str:
    return f"the last 30 days end with {await rolling.roll()}"
