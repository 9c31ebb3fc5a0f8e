"""Settings from the environment: each has a name, a unit and a default, and a wrong one fails by name."""

import sys
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=0, le=65535)]


class ServiceSettings(BaseSettings):
    """What every service is told; a subclass fixes `env_prefix`, the ports, and adds its own."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(0, description="gRPC port")
    metrics_port: Port = Field(0, description="HTTP port of the Prometheus metrics")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level logged")
    log_format: Literal["console", "json"] = Field("json", description="how log lines look")
    drain_seconds: float = Field(
        2.5, ge=0, le=300, description="seconds between NOT_SERVING and the stop, for balancers to move away"
    )
    grace_seconds: float = Field(20.0, ge=0, le=3600, description="seconds calls under way may still take")
    max_message_bytes: int = Field(
        16 * 1024 * 1024, ge=1024, le=512 * 1024 * 1024, description="largest gRPC message taken, in bytes"
    )


SettingsType = TypeVar("SettingsType", bound=BaseSettings)


def environment_name(settings: type[BaseSettings], name: str, field: FieldInfo) -> str:
    """Return the environment variable that sets `field`."""
    if isinstance(field.validation_alias, str):
        return field.validation_alias
    return f"{settings.model_config.get('env_prefix', '')}{name}".upper()


def load_settings(settings: type[SettingsType]) -> SettingsType:
    """Read settings from the environment.

    Raises:
        SystemExit: with status 2, after one line on standard error per variable that is wrong or missing.
    """
    try:
        return settings()
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            location = str(problem["loc"][0]) if problem["loc"] else ""
            field = settings.model_fields.get(location)
            name = environment_name(settings, location, field) if field else location.upper()
            print(f"setting {name}: {problem['msg']}", file=sys.stderr)  # noqa: T201 (no log before settings)
        raise SystemExit(2) from None


def describe_settings(settings: type[BaseSettings]) -> str:
    """Return one line per setting: its variable, its default, what it is."""
    rows = []
    for name, field in settings.model_fields.items():
        default = "required" if field.is_required() else f"default {field.default!r}"
        rows.append((environment_name(settings, name, field), f"{field.description or name} ({default})"))
    width = max(len(variable) for variable, _ in rows)
    return "\n".join(f"  {variable:<{width}}  {text}" for variable, text in rows)
