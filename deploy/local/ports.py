"""Finds out, before anything starts, whether every port of a run is free, and who holds one that is not."""

import errno
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import RunError
from deploy.local.processes import command_name, run_of
from deploy.local.settings import HOST

_LISTEN = "0A"
_PASSING_SECONDS = 1.0
_PROBE_SECONDS = 0.05


def check_ports(ports: Mapping[str, int]) -> None:
    """Test-bind every port in `ports` (setting -> port).

    A port that only a passing connection holds, on which nobody listens, gets a second to become free.

    Raises:
        RunError: ports are taken, forbidden or given to two settings; names all of them and their settings.
    """
    settings_by_port: dict[int, str] = {}
    for setting, port in ports.items():
        other = settings_by_port.setdefault(port, setting)
        if other != setting:
            raise RunError(
                f"port {port} is given to both {other} and {setting}: give one of them another port"
            )
    deadline = time.monotonic() + _PASSING_SECONDS
    taken = {setting: port for setting, port in ports.items() if _is_taken(setting, port)}
    while any(not _listening_sockets(port) for port in taken.values()) and time.monotonic() < deadline:
        time.sleep(_PROBE_SECONDS)
        taken = {setting: port for setting, port in taken.items() if _is_taken(setting, port)}
    if taken:
        raise _taken_error([_Taken.look_up(setting, port) for setting, port in taken.items()])


def listener_of(port: int) -> int | None:
    """Return the id of the process that listens on `port`; None if there is none or it cannot be seen."""
    sockets = _listening_sockets(port)
    for links in Path("/proc").glob("[0-9]*/fd"):
        if not sockets.isdisjoint(_open_files(links)):
            return int(links.parent.name)
    return None


def listens(process: int, port: int) -> bool:
    """Tell whether whatever listens on `port` is `process`; true if nothing does.

    A process that it has just forked has the same socket for a moment, under whatever id.
    """
    return _listening_sockets(port) <= set(_open_files(Path(f"/proc/{process}/fd")))


def taken_port_error(setting: str, port: int) -> RunError:
    """Return the one line that names the port, its setting, and who holds it where that can be seen."""
    return _taken_error([_Taken.look_up(setting, port)])


@dataclass(frozen=True, kw_only=True)
class _Taken:
    """A port that is not free: the process that holds it, and the run that process belongs to."""

    setting: str
    port: int
    is_listened_on: bool
    holder: int | None
    run: int | None

    @classmethod
    def look_up(cls, setting: str, port: int) -> "_Taken":
        holder = listener_of(port)
        return cls(
            setting=setting,
            port=port,
            is_listened_on=bool(_listening_sockets(port)),
            holder=holder,
            run=run_of(holder) if holder else None,
        )

    def describe(self) -> str:
        port = f"port {self.port} ({self.setting})"
        if not self.is_listened_on:
            return f"{port} is in use by a connection, though nothing listens on it"
        if self.holder is None:
            return f"{port} is taken by another process"
        of_run = f" of the run {self.run}" if self.run and self.run != self.holder else ""
        return f"{port} is taken by process {self.holder} ({command_name(self.holder)}){of_run}"


def _taken_error(taken: list[_Taken]) -> RunError:
    # A child of a run would only be started again, so the way to end it is to end its run.
    ends = sorted({one.run or one.holder for one in taken if one.holder})
    whom = "the run" if all(one.run for one in taken if one.holder) else "what holds them"
    ways = []
    if ends:
        target = "it" if len(taken) == 1 and not taken[0].run else whom
        ways.append(f"stop {target} (kill {' '.join(map(str, ends))})")
    if not all(one.is_listened_on for one in taken):
        ways.append("try again in a minute")
    if len(taken) == 1:
        return RunError(
            f"{taken[0].describe()}: {' or '.join([*ways, f'choose another with {taken[0].setting}=<port>'])}"
        )
    ways.append("choose others with SETTING=<port>")
    return RunError(
        f"{len(taken)} ports are taken: {' or '.join(ways)}",
        details=tuple(one.describe() for one in taken),
    )


def _open_files(links: Path) -> Iterator[str]:
    """Yield what a process has open; nothing for one that ended meanwhile, or is another user's."""
    with suppress(OSError):
        for link in links.iterdir():
            with suppress(OSError):  # closed since it was listed, as the listing's own descriptor always is
                yield os.readlink(link)


def _is_taken(setting: str, port: int) -> bool:
    with socket.socket() as probe:
        # Lets a port pass whose last connections are still in TIME_WAIT, but none that is listened on.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise RunError(f"port {port} ({setting}) cannot be used: {error.strerror}") from None
    return False


def _listening_sockets(port: int) -> set[str]:
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue  # no such protocol here
        for row in rows:
            fields = row.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                sockets.add(f"socket:[{fields[9]}]")
    return sockets
