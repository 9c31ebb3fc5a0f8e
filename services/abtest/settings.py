"""ABTEST_* settings."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import Port, ServiceSettings


class AbtestSettings(ServiceSettings):
    """What the A/B test service is told beside what every service is."""

    model_config = SettingsConfigDict(env_prefix="ABTEST_")

    port: Port = Field(50052, description="gRPC port")
    metrics_port: Port = Field(9102, description="HTTP port of the Prometheus metrics")
    database_url: str = Field(
        description="PostgreSQL address of the role abtest; not the migrator's", repr=False
    )
    database_connections: int = Field(8, ge=2, le=200, description="most database connections at once")
    statement_timeout_seconds: float = Field(
        30.0, gt=0, le=3600, description="longest one database statement may take"
    )
    assignment_batch_size: int = Field(
        500, ge=1, le=5000, description="most assignments that are committed together"
    )
    waiting_assignments: int = Field(
        10_000, ge=1, le=1_000_000, description="assignments that may wait before further ones are refused"
    )
    jobs_enabled: bool = Field(
        True, description="whether this replica runs jobs; others run them if it does not"
    )
    job_connections: int = Field(2, ge=1, le=100, description="most connections that jobs hold at once")
    job_poll_seconds: float = Field(
        2.0, gt=0, le=3600, description="how often it is looked for jobs that are due, in seconds"
    )
    job_lease_seconds: float = Field(
        60.0, ge=1, le=3600, description="seconds after which the job of a lost replica goes to another one"
    )
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
