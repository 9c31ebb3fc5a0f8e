"""ABTEST_* settings."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import DatabaseSettings, Port


class AbtestSettings(DatabaseSettings):
    """What the A/B test service is told beside what every service is."""

    model_config = SettingsConfigDict(env_prefix="ABTEST_")

    port: Port = Field(50052, description="gRPC port")
    metrics_port: Port = Field(9102, description="HTTP port of the Prometheus metrics")
    assignment_batch_size: int = Field(
        500, ge=1, le=5000, description="most assignments that are committed together"
    )
    waiting_assignments: int = Field(
        10_000, ge=1, le=1_000_000, description="assignments that may wait before further ones are refused"
    )
    job_connections: int = Field(2, ge=1, le=100, description="most connections that jobs hold at once")
    schedule_interval_seconds: float = Field(
        5.0, gt=0, le=3600, description="seconds between two looks at tests that start or end by themselves"
    )
    bandit_interval_seconds: float = Field(
        30.0, gt=0, le=3600, description="seconds between two looks at bandits that are due"
    )
    simulation_timeout_seconds: float = Field(
        55.0, gt=0, le=3600, description="longest time that one simulation may take"
    )
    concurrent_simulations: int = Field(1, ge=1, le=100, description="simulations that run at the same time")
    waiting_simulations: int = Field(
        8, ge=0, le=1000, description="simulations that may wait before further ones are refused"
    )
