"""Runs the forecasts in a process of its own; the serving process never sees statsmodels."""

from dataclasses import dataclass

from services.common.child_process import ChildProcess, OnProgress, ignore_progress


@dataclass(frozen=True, kw_only=True)
class ForecastingProcess:
    """How to make forecasts: over which database, in which zone, for how long at most."""

    database_url: str
    reporting_time_zone: str
    timeout_seconds: float
    on_progress: OnProgress = ignore_progress

    async def run(self) -> str:
        """Make all forecasts anew; return what was made, in one line.

        Cancelling and errors are as `ChildProcess.run`'s.
        """
        process = ChildProcess(
            module="services.analytics.forecasting",
            subject="the forecasts",
            what_stays="the earlier ones stay",
            environment={
                "ANALYTICS_DATABASE_URL": self.database_url,
                "REPORTING_TIME_ZONE": self.reporting_time_zone,
            },
            timeout_seconds=self.timeout_seconds,
            timeout_reason="FORECAST_NOT_MADE",
        )
        return str(await process.run(on_progress=self.on_progress))
