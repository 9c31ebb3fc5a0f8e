"""`python -m services.analytics.attributing`: one run of attribution, in this process.

Started by the serving process (`attributing_process.py`), or by hand with the settings of the service. Its
result is what was done, in one line.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from services.analytics.attributing.refresh import AttributionRefresh
from services.analytics.settings import AnalyticsSettings
from services.analytics.store.data_version import MARK_WRITE
from services.common.child_work import run_child
from services.common.database import Database
from services.common.settings import load_settings

_STATEMENT_SECONDS = 3600.0


async def refresh(settings: AnalyticsSettings) -> str:
    """Count what changed since the last run; return what was done, in one line."""
    database = await Database.open(
        settings.database_url,
        application_name="analytics-attributing",
        max_size=1,
        statement_timeout_seconds=_STATEMENT_SECONDS,
        mark_write=MARK_WRITE,
    )
    try:
        attribution = AttributionRefresh(
            database,
            zone=ZoneInfo(settings.reporting_time_zone),
            lookback_days=settings.attribution_lookback_days,
            clock=lambda: datetime.now(UTC),
        )
        return str(await attribution.run())
    finally:
        await database.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run once; returns 0, 1 after a failure, 3 after a refusal."""
    parser = argparse.ArgumentParser(prog="python -m services.analytics.attributing", description=__doc__)
    parser.parse_args(arguments)
    settings = load_settings(AnalyticsSettings)
    return run_child(lambda: refresh(settings))


if __name__ == "__main__":
    sys.exit(main())
