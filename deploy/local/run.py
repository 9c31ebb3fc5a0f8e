"""One run from start to stop: everything in readiness order, then the foreground until a signal."""

import asyncio
import signal
import time

from deploy.local import programs
from deploy.local.bootstrap import DATABASE
from deploy.local.console import Console
from deploy.local.database import choose_time_zone, open_database
from deploy.local.demo import has_live_model, learn_from_users, load_demo, train_first_model
from deploy.local.demo_state import check_demo, read_state, reporting_time_zone
from deploy.local.errors import RunError
from deploy.local.first_calls import print_first_calls
from deploy.local.gateway import gateway
from deploy.local.passwords import PASSWORDS_NAME
from deploy.local.settings import HOST, RunSettings
from deploy.local.supervisor import Supervisor


async def run(settings: RunSettings, console: Console, *, environment_seconds: float = 0.0) -> int:
    """Start everything, stay until SIGINT, SIGTERM or SIGHUP, stop everything; return the exit status.

    `environment_seconds` is how long making the environment took before, for the line that says ready.
    """
    began = time.monotonic()
    supervisor = Supervisor(
        console, start_seconds=settings.start_seconds, restart_seconds=settings.restart_seconds
    )
    stopping = asyncio.Event()
    _stop_on_signals(stopping, supervisor, console)
    starting = asyncio.create_task(_start(settings, supervisor, console))
    waiting = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([starting, waiting], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            before = f" (plus {environment_seconds:.0f} s for the environment)" if environment_seconds else ""
            console.say(
                f"ready in {time.monotonic() - began:.1f} s{before} "
                f"at http://{HOST}:{settings.gateway_port}; Ctrl-C stops"
            )
            await waiting
    except RunError as error:
        _report(error, console)
        return 1
    finally:
        console.say(f"stopping{_interrupted_load(settings)}")
        await _cancel(starting, waiting)
        await supervisor.stop()
        console.say("stopped")
    return 0


async def _start(settings: RunSettings, supervisor: Supervisor, console: Console) -> None:
    state = read_state(settings)
    if note := check_demo(settings, state):
        console.say(f"note: {note}")
    addresses = await open_database(settings, supervisor, console)
    preferred_zone = reporting_time_zone(settings, state)
    time_zone = await choose_time_zone(settings, addresses.admin, preferred_zone)
    await supervisor.start(programs.model_server(settings))
    await supervisor.start(
        programs.analytics(settings, addresses, time_zone=time_zone),
        programs.abtest(settings, addresses),
        programs.optimizer(settings, addresses),
    )
    await supervisor.start(gateway(settings))
    if settings.demo == "complete-journey":
        console.say("the Complete Journey knows purchases but no offers, so no model is trained on it")
    loaded = await load_demo(settings, state, console)
    has_model = await has_live_model(addresses.admin)
    if settings.demo == "1" and not has_model:
        await train_first_model(settings, console)
        has_model = await has_live_model(addresses.admin)
    if loaded:
        await learn_from_users(settings, console)
    await print_first_calls(settings, console, has_model=has_model)
    _print_addresses(settings, console)


def _print_addresses(settings: RunSettings, console: Console) -> None:
    port = settings.gateway_port
    database = "the one of DATABASE_URL"
    if not settings.database_url:
        passwords = settings.data_dir / PASSWORDS_NAME
        database = f"{HOST}:{settings.postgres_port}, database {DATABASE}, passwords in {passwords}"
    console.plain(
        f"REST        http://{HOST}:{port}/api/...\n"
        f"gRPC        {HOST}:{port} (and gRPC-Web)\n"
        f"health      http://{HOST}:{port}/healthz\n"
        f"Envoy admin http://{HOST}:{settings.gateway_admin_port}\n"
        f"metrics     http://{HOST}:{settings.analytics_metrics_port}/metrics (analytics), "
        f"{settings.abtest_metrics_port} (abtest), {settings.optimizer_metrics_port} (optimizer), "
        f"{settings.model_server_metrics_port} (model-server)\n"
        f"PostgreSQL  {database}\n"
        f"database    {settings.make_command('psql')}\n"
        f"recount     {settings.make_command('reconcile')}\n"
        f"logs        {settings.data_dir}/logs"
    )


def _stop_on_signals(stopping: asyncio.Event, supervisor: Supervisor, console: Console) -> None:
    def stop() -> None:
        if stopping.is_set():
            console.say("told to stop again: killing everything")
            supervisor.kill()
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Under nohup a hang-up is ignored from the start, and stays so.
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop)


def _interrupted_load(settings: RunSettings) -> str:
    state = read_state(settings)
    if state is None or state.complete or state.demo != settings.demo:
        return ""
    return "; the load continues at the next make run"


def _report(error: RunError, console: Console) -> None:
    console.say(f"failed: {error}")
    for line in error.details:
        console.say(f"  {line}")


async def _cancel(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)  # what went wrong is on its way already
