"""Starts a run of attribution in a process of its own, so that no call waits for its arithmetic."""

from dataclasses import dataclass

from services.common.child_process import ChildProcess


@dataclass(frozen=True, kw_only=True)
class AttributingProcess:
    """How to start a run: over which database, in which reporting zone and window."""

    database_url: str
    reporting_time_zone: str
    lookback_days: int

    async def run(self) -> str:
        """Count what changed since the last run; return what was done, in one line.

        Cancelling and errors are as `ChildProcess.run`'s.
        """
        process = ChildProcess(
            module="services.analytics.attributing",
            subject="the run of attribution",
            what_stays="the months that it finished stay",
            environment={
                "ANALYTICS_DATABASE_URL": self.database_url,
                "REPORTING_TIME_ZONE": self.reporting_time_zone,
                "ANALYTICS_ATTRIBUTION_LOOKBACK_DAYS": str(self.lookback_days),
            },
        )
        return str(await process.run())
