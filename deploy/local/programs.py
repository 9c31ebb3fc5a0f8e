"""The services of a run: command, environment, readiness of each."""

import os
import sys
from collections.abc import Mapping

from deploy.local.bootstrap import DatabaseAddresses
from deploy.local.process import Program
from deploy.local.readiness import grpc_serves
from deploy.local.settings import HOST, RunSettings

# The gateway goes first and lets the calls under way finish; a short wait is enough for direct callers.
_DRAIN_SECONDS = "0.3"
_STOP_SECONDS = 45.0
"""Drain, 20 s for calls under way, and 10 s each for trainings and jobs that were cut off; who is killed
before leaves leases of jobs behind."""
_SECRETS = ("DATABASE_URL", "ANALYTICS_DATABASE_URL", "ABTEST_DATABASE_URL", "OPTIMIZER_DATABASE_URL")


def model_server(settings: RunSettings) -> Program:
    """Return the model server, which reads the model repository."""
    settings.models.mkdir(parents=True, exist_ok=True)
    own = {"MODEL_REPOSITORY": str(settings.models)}
    return _service("model-server", settings.model_server_port, settings.model_server_metrics_port, own)


def analytics(settings: RunSettings, addresses: DatabaseAddresses, *, time_zone: str | None) -> Program:
    """Return analytics; `time_zone` is the reporting zone, None for the service's default."""
    own = {"ANALYTICS_DATABASE_URL": addresses.analytics}
    if time_zone is not None:
        own["REPORTING_TIME_ZONE"] = time_zone
    return _service("analytics", settings.analytics_port, settings.analytics_metrics_port, own)


def abtest(settings: RunSettings, addresses: DatabaseAddresses) -> Program:
    """Return abtest."""
    own = {"ABTEST_DATABASE_URL": addresses.abtest}
    return _service("abtest", settings.abtest_port, settings.abtest_metrics_port, own)


def optimizer(settings: RunSettings, addresses: DatabaseAddresses) -> Program:
    """Return optimizer, which writes the model repository and asks the model server."""
    own = {
        "OPTIMIZER_DATABASE_URL": addresses.optimizer,
        "OPTIMIZER_MODEL_SERVER_ADDRESS": f"{HOST}:{settings.model_server_port}",
        "MODEL_REPOSITORY": str(settings.models),
    }
    return _service("optimizer", settings.optimizer_port, settings.optimizer_metrics_port, own)


def inherited_environment() -> dict[str, str]:
    """Return this process's environment for its children.

    It is without the database addresses, of which each service gets only its own, and takes no proxy to this
    machine's own addresses.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    for name in ("no_proxy", "NO_PROXY"):
        environment[name] = ",".join(filter(None, (environment.get(name), HOST, "localhost")))
    return environment


def _service(name: str, port: int, metrics_port: int, own: Mapping[str, str]) -> Program:
    package = name.replace("-", "_")
    prefix = package.upper()
    defaults = {f"{prefix}_LOG_FORMAT": "console", f"{prefix}_DRAIN_SECONDS": _DRAIN_SECONDS}
    fixed = {
        f"{prefix}_HOST": HOST,
        f"{prefix}_PORT": str(port),
        f"{prefix}_METRICS_PORT": str(metrics_port),
    }
    return Program(
        name=name,
        command=lambda: [sys.executable, "-m", f"services.{package}"],
        is_ready=lambda: grpc_serves(port),
        environment={**defaults, **inherited_environment(), **fixed, **own},
        ports={f"{prefix}_PORT": port, f"{prefix}_METRICS_PORT": metrics_port},
        stop_seconds=_STOP_SECONDS,
    )
