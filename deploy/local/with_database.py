"""`make psql`, `make reconcile`, `make rebuild`: work on the data of DATA_DIR, whether a run uses it or not.

A run's own PostgreSQL is used where one runs; otherwise the cluster is started for as long as the work takes.
"""

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit, urlunsplit

from deploy.local.bootstrap import DATABASE, role_address
from deploy.local.errors import RunError
from deploy.local.launch import NAMESPACE_FORBIDDEN_STATUS
from deploy.local.lock import data_lock, lock_holder
from deploy.local.passwords import read_passwords
from deploy.local.paths import REPOSITORY
from deploy.local.postgres import (
    ADMINISTRATOR,
    Cluster,
    find_binaries,
    launch_command,
    namespace_error,
    server_user,
)
from deploy.local.programs import inherited_environment
from deploy.local.settings import HOST, RunSettings
from services.common.settings import load_settings

_PROBE_SECONDS = 0.05
_STOP_SECONDS = 60.0


def main() -> int:
    """Do the work named on the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.with_database", description=__doc__)
    parser.add_argument("work", choices=["psql", "reconcile", "rebuild"])
    work = parser.parse_args().work
    settings = load_settings(RunSettings)
    role = (os.environ.get("ROLE") or "reporting") if work == "psql" else "analytics"
    try:
        runs = None if settings.database_url else lock_holder(settings.data_dir)
        with open_kept_database(settings) as url:
            address = address_of(settings, url, role)
            if work == "psql":
                return _run_psql(address, shlex.split(os.environ.get("ARGS", "")))
            return _run_analytics(work, address, settings, run=runs)
    except RunError as error:
        print(error, *error.details, sep="\n  ", file=sys.stderr)
        return 1


@contextmanager
def open_kept_database(settings: RunSettings) -> Iterator[str]:
    """Yield the migrator's address of the database, whose server runs at least as long as the body.

    Raises:
        RunError: there is no data, or its server does not start or is only just starting.
    """
    if settings.database_url:
        yield settings.database_url
        return
    folder = settings.data_dir
    if not (folder / "postgres" / "PG_VERSION").exists():
        raise RunError(f"{folder} holds no database yet: `{settings.make_command('run')}` makes one")
    password = read_passwords(folder)[ADMINISTRATOR]
    holder = lock_holder(folder)
    if holder is None:
        cluster = Cluster(folder=folder / "postgres", port=_choose_port(settings), password=password)
        with data_lock(folder), _running(cluster, settings):
            yield cluster.url(database=DATABASE)
        return
    port = Cluster(folder=folder / "postgres", port=0, password=password).running_port()
    if port is None:
        raise RunError(f"the run (process {holder}) has its database not open now: try again in a moment")
    yield Cluster(folder=folder / "postgres", port=port, password=password).url(database=DATABASE)


def address_of(settings: RunSettings, url: str, role: str) -> str:
    """Return the address at which `role` reaches the database of `url`, the migrator's address.

    Raises:
        RunError: nobody told the password of that role.
    """
    given = {
        "analytics": settings.analytics_database_url,
        "abtest": settings.abtest_database_url,
        "optimizer": settings.optimizer_database_url,
    }.get(role)
    if given:
        return given
    passwords = read_passwords(settings.data_dir)
    if role not in passwords:
        known = ", ".join(sorted(passwords)) or "none"
        raise RunError(f"{settings.data_dir} keeps no password of the role {role} (kept: {known})")
    return role_address(url, role, passwords[role])


def psql_command(address: str, arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return psql's command line, on which there is no password, and the environment that holds it."""
    parts = urlsplit(address)
    login, _, host = parts.netloc.rpartition("@")
    role, _, password = login.partition(":")
    shown = urlunsplit(parts._replace(netloc=f"{role}@{host}"))
    return [str(find_binaries() / "psql"), "-d", shown, *arguments], {"PGPASSWORD": unquote(password)}


def _run_psql(address: str, arguments: Sequence[str]) -> int:
    command, environment = psql_command(address, arguments)
    return _run(command, environment)


def _run_analytics(work: str, address: str, settings: RunSettings, *, run: int | None) -> int:
    zone = settings.reporting_time_zone if work == "rebuild" else None
    status = _run(
        [
            *(sys.executable, "-m", "services.analytics", work),
            *(["--reporting-time-zone", zone] if zone else []),
        ],
        {
            "ANALYTICS_LOG_FORMAT": "console",
            "ANALYTICS_LOG_LEVEL": "WARNING",
            "ANALYTICS_DATABASE_URL": address,
        },
    )
    if status == 0 and zone and run:
        print(f"if the run (process {run}) began with another zone, stop it and start it again")
    return status


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    # Ctrl-C is the command's own: psql ends a query by it and goes on.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run(
            command, cwd=REPOSITORY, env={**inherited_environment(), **environment}, check=False
        ).returncode
    except FileNotFoundError as error:
        raise RunError(f"there is no {command[0]}: set PG_BIN to a folder that holds it") from error
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _running(cluster: Cluster, settings: RunSettings) -> Iterator[None]:
    command = launch_command(cluster.command(), death_signal=signal.SIGINT, user=server_user())
    log_path = settings.data_dir / "logs" / "postgres-between-runs.log"
    log_path.parent.mkdir(exist_ok=True)
    with log_path.open("wb") as log:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + settings.start_seconds
        while not cluster.says_ready():
            if server.poll() == NAMESPACE_FORBIDDEN_STATUS:
                raise namespace_error()
            if server.poll() is not None or time.monotonic() >= deadline:
                lines = log_path.read_text(errors="replace").splitlines()[-10:]
                raise RunError("PostgreSQL did not start; its last lines:", details=tuple(lines))
            time.sleep(_PROBE_SECONDS)
        yield
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=_STOP_SECONDS)


def _choose_port(settings: RunSettings) -> int:
    """Return the port that a run's PostgreSQL has, or where that is taken another that nobody listens on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((HOST, settings.postgres_port))
        except OSError:
            probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
