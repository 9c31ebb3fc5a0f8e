"""MODEL_SERVER_* settings, and the repository folder shared with whoever publishes models."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import Port, ServiceSettings

VERSION = "0.1.0"
"""What ServerMetadata answers."""


class ModelServerSettings(ServiceSettings):
    """What the model server is told beside what every service is."""

    model_config = SettingsConfigDict(
        env_prefix="MODEL_SERVER_", validate_by_name=True, validate_by_alias=True
    )

    port: Port = Field(8001, description="gRPC port")
    metrics_port: Port = Field(9104, description="HTTP port of the Prometheus metrics")
    repository: Path = Field(
        Path(".data/models"),
        validation_alias="MODEL_REPOSITORY",
        description="folder of models (<model>/config.pbtxt, <model>/<version>/model.onnx); may be empty",
    )
    control_mode: Literal["explicit", "poll"] = Field(
        "explicit",
        description="explicit: all models load at start, then by RPC; poll: changes are also looked for",
    )
    poll_seconds: float = Field(2.0, gt=0, le=3600, description="seconds between two looks in mode poll")
    max_batch_size: int = Field(
        16_384, ge=1, le=1_000_000, description="most rows in one request, whatever a model's config allows"
    )
    intra_op_threads: int = Field(
        1, ge=1, le=256, description="CPU threads of one inference; a config.pbtxt may ask for fewer"
    )
    workers: int = Field(
        2, ge=1, le=256, description="long inferences that run at once, beside the event loop"
    )
    inline_milliseconds: float = Field(
        1.0, ge=0, le=100, description="inferences measured to be shorter run on the event loop itself"
    )
    max_waiting: int = Field(
        256, ge=1, le=100_000, description="long inferences that may wait for a worker; more are refused"
    )
