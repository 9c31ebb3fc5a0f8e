"""`python -m services.analytics.attributing`: one run of attribution, in this process.

Started by the serving process (`attributing_process.py`), or by hand with the settings of the service. Writes
one line of JSON to standard output: `{"summary"}`, or `{"refused": {code, reason, message}}` with exit status
3.
"""

import asyncio
import json
import os
import sys
import threading
import traceback
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.analytics.attributing.refresh import AttributionRefresh, RefreshSummary
from services.analytics.settings import AnalyticsSettings
from services.analytics.store.data_version import MARK_WRITE
from services.common.database import Database
from services.common.errors import DomainError
from services.common.settings import load_settings

_NICENESS = 10
_STATEMENT_SECONDS = 3600.0


async def refresh(settings: AnalyticsSettings) -> RefreshSummary:
    """Count what changed since the last run."""
    database = await Database.open(
        settings.database_url,
        application_name="analytics-attributing",
        max_size=1,
        statement_timeout_seconds=_STATEMENT_SECONDS,
        mark_write=MARK_WRITE,
    )
    try:
        return await AttributionRefresh(
            database,
            zone=ZoneInfo(settings.reporting_time_zone),
            lookback_days=settings.attribution_lookback_days,
            clock=lambda: datetime.now(UTC),
        ).run()
    finally:
        await database.close()


def main() -> int:
    """Run once; returns 0, 1 after a failure, 3 after a refusal."""
    settings = load_settings(AnalyticsSettings)
    os.nice(_NICENESS)  # requests go first
    if not sys.stdin.isatty():
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        summary = asyncio.run(refresh(settings))
    except DomainError as error:
        _say({"refused": {"code": error.code, "reason": error.reason, "message": error.message}})
        return 3
    except Exception:  # noqa: BLE001 (the process boundary: the parent is told by the exit status)
        traceback.print_exc()
        return 1
    _say({"summary": str(summary)})
    return 0


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
