"""Settings of the analytics service: ANALYTICS_*, and REPORTING_TIME_ZONE."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import DatabaseSettings, Port


class AnalyticsSettings(DatabaseSettings):
    """What the analytics service is told by its environment."""

    model_config = SettingsConfigDict(
        env_prefix="ANALYTICS_", extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True
    )

    port: Port = Field(50051, description="gRPC port")
    metrics_port: Port = Field(9101, description="HTTP port of the Prometheus metrics")
    reporting_time_zone: str = Field(
        "UTC",
        validation_alias="REPORTING_TIME_ZONE",
        description="IANA zone of hours and days; fixed in the database at the first start",
    )
    max_batch_events: int = Field(10_000, ge=1, le=100_000, description="most events of one message")
    max_future_seconds: float = Field(
        3600.0, ge=0, description="how far ahead of the clock an event's time may be, in seconds"
    )
    retention_days: int | None = Field(
        None,
        ge=1,
        le=36_500,
        description="days before today whose single events are kept, older ones only as sums (unset: all); "
        "attribution needs its lookback and 62",
    )
    concurrent_batches: int = Field(3, ge=1, le=100, description="batches written at the same time")
    waiting_batches: int = Field(
        64, ge=0, description="batches that may wait before further ones are refused"
    )
    kept_answer_seconds: float = Field(
        1.0,
        ge=0,
        le=60,
        description="longest time that an answer is kept while the data stand still (0: not at all)",
    )
    kept_answer_bytes: int = Field(
        32 << 20,
        ge=0,
        description="memory for kept answers and their requests; the oldest make room for the newest",
    )
    portfolio_slots: int = Field(16, ge=1, le=1000, description="rows among which a portfolio day is split")
    max_watchers: int = Field(1000, ge=1, le=100_000, description="streams that may watch at once")
    watch_poll_seconds: float = Field(
        5.0, gt=0, le=3600, description="how often what is watched is read without a change, in seconds"
    )
    attribution_lookback_days: int = Field(
        30, ge=1, le=366, description="days before a conversion in which a view or click counts as a touch"
    )
    attribution_interval_seconds: float = Field(
        900.0, ge=1, description="seconds between two runs of attribution"
    )
    portfolio_users_interval_seconds: float = Field(
        300.0,
        gt=0,
        description="how often the users of all campaigns are added up, for the portfolio's intervals",
    )
    forecast_interval_seconds: float = Field(
        60.0, gt=0, description="how often it is looked whether forecasts are to be made anew, in seconds"
    )
    forecast_timeout_seconds: float = Field(
        3600.0, gt=0, description="longest time that making all forecasts may take"
    )
    audience_interval_seconds: float = Field(
        300.0, gt=0, description="time between two counts of cohorts and of campaigns' segments"
    )
    rfm_interval_seconds: float = Field(
        3600.0, gt=0, description="time between two counts of users by recency, frequency and money"
    )
    max_alert_rules: int = Field(1000, ge=0, le=1_000_000, description="alert rules that may be kept")
    alert_interval_seconds: float = Field(
        60.0, gt=0, description="seconds between two looks at the alert rules"
    )
