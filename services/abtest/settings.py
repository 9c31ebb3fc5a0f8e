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
