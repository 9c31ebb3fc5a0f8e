"""The audience jobs, run by hand on what a test has sent."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from services.analytics.operations.cohorts import CohortOperations
from services.analytics.operations.rfm import RfmOperations
from services.analytics.operations.segments import SegmentOperations
from services.common.database import Database
from tests.analytics_factories import NOW


@dataclass(frozen=True, kw_only=True)
class AudienceJobs:
    cohorts: CohortOperations
    rfm: RfmOperations
    segments: SegmentOperations

    @classmethod
    def of(cls, database: Database, zone: str = "UTC", now: datetime = NOW) -> "AudienceJobs":
        known = ZoneInfo(zone)
        return cls(
            cohorts=CohortOperations(database, zone=known, clock=lambda: now, settling=timedelta(0)),
            rfm=RfmOperations(database, zone=known),
            segments=SegmentOperations(database, clock=lambda: now),
        )

    async def run(self) -> None:
        """Run all of them, each after what it builds on."""
        await self.cohorts.refresh()
        await self.rfm.refresh()
        await self.segments.refresh()
