"""The gateway of a run: Envoy with a configuration made for the run's ports."""

import asyncio
import http.client
import json
from pathlib import Path

from deploy.envoy.bootstrap import envoy_binary, render_bootstrap
from deploy.local.errors import RunError
from deploy.local.paths import DESCRIPTOR
from deploy.local.process import Program
from deploy.local.readiness import http_answers
from deploy.local.settings import HOST, RunSettings

_DRAIN_SECONDS = 5.0
_POLL_SECONDS = 0.1
_ADMIN_SECONDS = 2.0


def gateway(settings: RunSettings) -> Program:
    """Write the gateway's configuration into the data folder and return the program that serves it.

    Raises:
        RunError: there is no Envoy.
    """
    try:
        envoy = envoy_binary()
    except FileNotFoundError as error:
        raise RunError(str(error)) from error
    configuration = settings.data_dir / "envoy.yaml"
    configuration.write_text(
        render_bootstrap(
            gateway_port=settings.gateway_port,
            admin_port=settings.gateway_admin_port,
            analytics_port=settings.analytics_port,
            abtest_port=settings.abtest_port,
            optimizer_port=settings.optimizer_port,
            model_server_port=settings.model_server_port,
            host=HOST,
            descriptor_path=DESCRIPTOR,
        )
    )
    return Program(
        name="gateway",
        command=lambda: _command(envoy, configuration),
        is_ready=lambda: http_answers(settings.gateway_port, "/healthz"),
        ports={
            "GATEWAY_PORT": settings.gateway_port,
            "GATEWAY_ADMIN_PORT": settings.gateway_admin_port,
        },
        drain=lambda: drain(settings.gateway_admin_port),
        stop_seconds=10.0,
    )


async def drain(admin_port: int, *, seconds: float = _DRAIN_SECONDS) -> None:
    """Take no new connections, and wait at most `seconds` for the requests under way."""
    await http_answers(admin_port, "/drain_listeners", method="POST")
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        if not await asyncio.to_thread(_active_requests, admin_port):
            return
        await asyncio.sleep(_POLL_SECONDS)


def _command(envoy: Path, configuration: Path) -> list[str]:
    return [
        str(envoy),
        "--config-path",
        str(configuration),
        "--disable-hot-restart",  # no shared memory, no socket to leave behind
        "--concurrency",
        "2",
        "--log-level",
        "warning",
    ]


def _active_requests(admin_port: int) -> int:
    """Return how many requests the gateway has under way; 0 when it cannot be asked."""
    connection = http.client.HTTPConnection(HOST, admin_port, timeout=_ADMIN_SECONDS)
    try:
        connection.request("GET", "/stats?format=json&filter=^http%5C..*downstream_rq_active$")
        stats = json.loads(connection.getresponse().read())["stats"]
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return 0
    finally:
        connection.close()
    return sum(int(stat["value"]) for stat in stats if "http.admin." not in stat.get("name", ""))
