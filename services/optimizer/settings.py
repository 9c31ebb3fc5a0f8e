"""OPTIMIZER_* settings, and the model repository shared with the model server."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import DatabaseSettings, Port


class OptimizerSettings(DatabaseSettings):
    """What the optimizer is told beside what every service is."""

    model_config = SettingsConfigDict(env_prefix="OPTIMIZER_", validate_by_name=True, validate_by_alias=True)

    port: Port = Field(50053, description="gRPC port")
    metrics_port: Port = Field(9103, description="HTTP port of the Prometheus metrics")
    job_connections: int = Field(4, ge=2, le=100, description="most connections that jobs hold at once")
    model_server_address: str = Field(
        "127.0.0.1:8001", description="host:port of the model server (Open Inference Protocol)"
    )
    repository: Path = Field(
        Path(".data/models"),
        validation_alias="MODEL_REPOSITORY",
        description="folder into which trained models are written and from which the model server reads",
    )
    inference_timeout_seconds: float = Field(
        2.0, gt=0, le=60, description="longest wait for one inference of the model server"
    )
    load_timeout_seconds: float = Field(
        60.0, gt=0, le=3600, description="longest wait for the model server to load a published version"
    )
    model_check_seconds: float = Field(
        5.0, gt=0, le=3600, description="seconds between two looks whether the live version is served"
    )
    training_timeout_seconds: float = Field(
        3600.0, gt=0, le=86_400, description="longest a training may take before it is stopped"
    )
    training_max_samples: int = Field(
        60_000, ge=1000, le=100_000_000, description="rows that each tree of the forest draws at most"
    )
    training_priority: Literal["idle", "low"] = Field(
        "idle",
        description="idle: a training works only where no other process would, so that requests never wait;"
        " low: it also gets a small share of cores that are always busy",
    )
    dask_scheduler: str = Field(
        "",
        validation_alias="DASK_SCHEDULER",
        description="address of the Dask scheduler whose workers grow the trees, such as tcp://dask:8786; "
        "empty: this machine",
    )
    retraining_hour: int = Field(
        3,
        ge=0,
        le=23,
        description="hour of the day (UTC) at which a model is trained again; drift is an hour before",
    )
    model_retention_days: float = Field(
        30.0, ge=1, le=3650, description="days for which the files of rejected and retired versions are kept"
    )
    record_retention_days: float = Field(
        400.0,
        ge=60,
        le=36_500,
        description="days for which closed recommendations with their decisions, ended trainings and measures"
        " of drift are kept; outcomes stay",
    )
    quiet_start_hour: int = Field(
        22,
        ge=0,
        le=23,
        description="hour of the user's day from which nothing is sent, unless a request says",
    )
    quiet_end_hour: int = Field(
        7,
        ge=0,
        le=23,
        description="hour of the user's day from which sending is allowed again; equal: always",
    )
    outcomes_seconds: float = Field(
        3600.0, gt=0, le=86_400, description="seconds between two countings of outcomes"
    )
    send_times_seconds: float = Field(
        900.0, gt=0, le=86_400, description="seconds between two runs of the job that keeps send times"
    )
    send_times_timeout_seconds: float = Field(
        3600.0, gt=0, le=86_400, description="longest one run of that job may take before it is stopped"
    )
    send_time_profile_hours: float = Field(
        24.0, gt=0, le=24 * 365, description="how old the profile of everybody's hours may become"
    )
    affinity_fit_seconds: float = Field(
        86_400.0, gt=0, le=30 * 86_400, description="seconds between two fits of users' visits to merchants"
    )
    affinity_refresh_seconds: float = Field(
        300.0, gt=0, le=86_400, description="seconds between two runs of the job that keeps users' merchants"
    )
    affinity_timeout_seconds: float = Field(
        3600.0, gt=0, le=86_400, description="longest a fit of users' visits may take before it is stopped"
    )
