"""Finds out, before anything starts, whether every port of a run is free, and who holds one that is not."""

import errno
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from deploy.local.errors import RunError
from deploy.local.settings import HOST

_LISTEN = "0A"
_LONGEST_NAME = 60


def check_ports(ports: Mapping[str, int]) -> None:
    """Test-bind every port in `ports` (setting -> port).

    Raises:
        RunError: one port is taken, forbidden or given to two settings; names the port and its setting.
    """
    settings_by_port: dict[int, str] = {}
    for setting, port in ports.items():
        other = settings_by_port.setdefault(port, setting)
        if other != setting:
            raise RunError(
                f"port {port} is given to both {other} and {setting}: give one of them another port"
            )
        _check_port(setting, port)


def listener_of(port: int) -> int | None:
    """Return the id of the process that listens on `port`; None if there is none or it cannot be seen."""
    sockets = _listening_sockets(port)
    for links in Path("/proc").glob("[0-9]*/fd"):
        try:
            if any(os.readlink(link) in sockets for link in links.iterdir()):
                return int(links.parent.name)
        except OSError:
            continue  # ended meanwhile, or another user's
    return None


def taken_port_error(setting: str, port: int, holder: int | None) -> RunError:
    """Return the one line that names the port, its setting, and who holds it where that can be seen."""
    who = f" by process {holder} ({_command_name(holder)})" if holder else " by another process"
    stop = f"stop it (kill {holder}) or " if holder else ""
    return RunError(f"port {port} ({setting}) is taken{who}: {stop}choose another with {setting}=<port>")


def _check_port(setting: str, port: int) -> None:
    with socket.socket() as probe:
        # Lets a port pass whose last connections are still in TIME_WAIT, but none that is listened on.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise taken_port_error(setting, port, listener_of(port)) from None
            raise RunError(f"port {port} ({setting}) cannot be used: {error.strerror}") from None


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


def _command_name(process: int) -> str:
    try:
        arguments = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "ended meanwhile"
    words = [Path(arguments[0]).name, *(word for word in arguments[1:4] if word)]
    name = " ".join(" ".join(words).split())
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."
