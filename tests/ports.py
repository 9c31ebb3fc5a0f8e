"""Loopback ports for the servers of tests: none is given twice, whoever else tests on this machine.

A process takes its ports from blocks that it holds until its end, by the name of a socket that the kernel
frees with it. All lie below those that the kernel gives to connections, and to servers that leave the choice
to it: so what was found free stays free until its server binds it.
"""

import secrets
import socket
from collections.abc import Iterator

_PORTS = range(12_000, 32_000)
_BLOCK_PORTS = 100
_HELD: list[socket.socket] = []


def free_port() -> int:
    """Return a port on which nobody listens, and which no other test is given."""
    return next(_GIVEN)


def _free_ports() -> Iterator[int]:
    for block in _blocks():
        yield from filter(_is_free, block)
    raise RuntimeError("no port is free")


def _blocks() -> Iterator[range]:
    """Yield the blocks of ports that no other process holds, from a drawn one on."""
    begins = _PORTS[::_BLOCK_PORTS]
    drawn = secrets.randbelow(len(begins))
    for begin in (*begins[drawn:], *begins[:drawn]):
        holder = socket.socket(socket.AF_UNIX)
        try:
            holder.bind(f"\0campaigns-tests-{begin}")
        except OSError:
            holder.close()
            continue
        _HELD.append(holder)
        yield range(begin, begin + _BLOCK_PORTS)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_GIVEN = _free_ports()
