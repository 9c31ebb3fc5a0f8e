"""The days that an answer looks back on."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.common.database import Connection
from services.optimizer.domain.features import HISTORY_DAYS
from services.optimizer.domain.training_window import WINDOW_DAYS
from services.optimizer.store import catalog


@dataclass(frozen=True, kw_only=True)
class Days:
    """The days that an answer looks back on, up to and without today."""

    today: date

    @property
    def history(self) -> tuple[date, date]:
        """The days whose sums are the features' history."""
        return self.today - timedelta(days=HISTORY_DAYS), self.today

    @property
    def window(self) -> tuple[date, date]:
        """The days that a training of today would read."""
        return self.today - timedelta(days=WINDOW_DAYS), self.today


async def fetch_reporting_zone(connection: Connection) -> ZoneInfo:
    """Return the zone of the reporting days; UTC before analytics first started, when there are none."""
    return ZoneInfo(await catalog.fetch_reporting_time_zone(connection) or "UTC")


async def fetch_reporting_day(connection: Connection, now: datetime) -> date:
    """Return the reporting day of a moment."""
    return now.astimezone(await fetch_reporting_zone(connection)).date()
