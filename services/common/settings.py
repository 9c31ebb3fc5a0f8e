"""Settings from the environment: each has a name, a unit and a default, and a wrong one fails by name."""

import sys
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=0, le=65535)]

_SECRET_WORDS = ("URL", "PASSWORD", "SECRET", "TOKEN", "KEY")
_NOT_OF_KIND = {
    "int_parsing": "not a whole number",
    "int_parsing_size": "too large a number",
    "int_from_float": "not a whole number",
    "float_parsing": "not a number",
    "finite_number": "not a finite number",
    "bool_parsing": "neither true nor false",
}
_LIMITS = {"le": "more than", "lt": "not less than", "ge": "less than", "gt": "not more than"}


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


class DatabaseSettings(ServiceSettings):
    """What every service with a database of its own and jobs is told."""

    database_url: str = Field(
        description="PostgreSQL address of the service's own role; not the migrator's", repr=False
    )
    database_connections: int = Field(8, ge=2, le=200, description="most database connections at once")
    statement_timeout_seconds: float = Field(
        30.0, gt=0, le=3600, description="longest one database statement may take"
    )
    jobs_enabled: bool = Field(
        True, description="whether this replica runs jobs; others run them if it does not"
    )
    job_connections: int = Field(4, ge=1, le=100, description="most connections that jobs hold at once")
    job_poll_seconds: float = Field(
        2.0, gt=0, le=3600, description="how often it is looked for jobs that are due, in seconds"
    )
    job_lease_seconds: float = Field(
        60.0, ge=1, le=3600, description="seconds after which the job of a lost replica goes to another one"
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
        for problem in error.errors(include_url=False):
            location = str(problem["loc"][0]) if problem["loc"] else ""
            field = settings.model_fields.get(location)
            name = environment_name(settings, location, field) if field else location.upper()
            text = _describe_problem(problem, may_show=_may_be_shown(name, field))
            print(f"setting {name}: {text}", file=sys.stderr)  # noqa: T201 (no log before settings)
        raise SystemExit(2) from None


def _describe_default(default: object) -> str:
    if default is None:
        return "not set"
    return f"default {default}" if isinstance(default, Path) else f"default {default!r}"


def _may_be_shown(name: str, field: FieldInfo | None) -> bool:
    """Return whether a wrong value may be repeated: an address or another secret may hold a password."""
    return (field is None or field.repr) and not any(word in name for word in _SECRET_WORDS)


def _describe_problem(problem: ErrorDetails, *, may_show: bool) -> str:
    """Return what is wrong with a value in plain words, with the value where it may be shown."""
    kind, limits = problem["type"], problem.get("ctx", {})
    if kind == "missing":
        return "required, but not set"
    given = repr(problem["input"]) if may_show and isinstance(problem["input"], str | int | float) else "it"
    if kind in _NOT_OF_KIND:
        return f"{given} is {_NOT_OF_KIND[kind]}"
    for limit, words in _LIMITS.items():
        if limit in limits:
            return f"{given} is {words} {limits[limit]:.12g}"
    if kind == "literal_error":
        return f"{given} is not {limits['expected']}"
    # The rest is pydantic's own sentence, which may repeat the value where it is a validator's.
    return problem["msg"].removeprefix("Value error, ") if may_show else "it is not valid"


def describe_settings(settings: type[BaseSettings]) -> str:
    """Return one line per setting: its variable, its default, what it is."""
    rows = []
    for name, field in settings.model_fields.items():
        default = "required" if field.is_required() else _describe_default(field.default)
        rows.append((environment_name(settings, name, field), f"{field.description or name} ({default})"))
    width = max(len(variable) for variable, _ in rows)
    return "\n".join(f"  {variable:<{width}}  {text}" for variable, text in rows)
