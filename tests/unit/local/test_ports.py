import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from deploy.local import ports
from deploy.local.errors import RunError
from deploy.local.ports import check_ports, listener_of, listens
from tests.ports import free_port


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_is_named_with_its_setting_and_its_holder(taken_port: int) -> None:
    with pytest.raises(RunError) as raised:
        check_ports({"GATEWAY_PORT": taken_port})
    message = str(raised.value)
    assert f"port {taken_port} (GATEWAY_PORT) is taken by process {os.getpid()}" in message
    assert "GATEWAY_PORT=<port>" in message
    assert "\n" not in message


def test_all_taken_ports_are_named_at_once(taken_port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(RunError) as raised:
            check_ports({"GATEWAY_PORT": taken_port, "ABTEST_PORT": other.getsockname()[1]})
        expected = (taken_port, other.getsockname()[1])
    assert str(raised.value).startswith(f"2 ports are taken: stop what holds them (kill {os.getpid()}) or")
    assert [detail.split(" is taken by")[0] for detail in raised.value.details] == [
        f"port {expected[0]} (GATEWAY_PORT)",
        f"port {expected[1]} (ABTEST_PORT)",
    ]


def test_a_child_of_a_run_is_not_to_be_killed_but_its_run(
    taken_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "run_of", lambda _process: 4321)
    with pytest.raises(RunError) as raised:
        check_ports({"GATEWAY_PORT": taken_port})
    assert "of the run 4321: stop the run (kill 4321) or" in str(raised.value)
    assert f"kill {os.getpid()}" not in str(raised.value)


def test_a_file_closed_while_it_is_listed_does_not_hide_the_listener() -> None:
    gap = os.open(os.devnull, os.O_RDONLY)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        os.close(gap)  # the listing of this process's own files now takes a number before the listener's
        assert listener_of(listener.getsockname()[1]) == os.getpid()


def test_a_listener_is_told_from_others_whoever_has_its_socket_too() -> None:
    wait = [sys.executable, "-c", "input()"]
    with socket.socket() as listener, socket.socket() as other:
        for one in (listener, other):
            one.bind(("127.0.0.1", 0))
            one.listen()
        port = listener.getsockname()[1]
        with subprocess.Popen(wait, stdin=subprocess.PIPE, pass_fds=[listener.fileno()]) as heir:
            assert listens(os.getpid(), port)
            assert listens(heir.pid, port)
            assert not listens(heir.pid, other.getsockname()[1])
            heir.communicate(b"\n")
        assert not listens(heir.pid, port)
    assert listens(os.getpid(), port)  # nobody does


def test_a_port_of_a_passing_connection_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_PASSING_SECONDS", 3600.0)
    with socket.socket() as client:
        port = connect_from_free_port(client)
        pauses: list[float] = []

        def pass_by(seconds: float) -> None:
            pauses.append(seconds)
            client.close()

        monkeypatch.setattr(ports, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pass_by))
        check_ports({"GATEWAY_PORT": port})
    assert len(pauses) == 1


def test_a_port_of_a_staying_connection_is_not_said_to_be_listened_on() -> None:
    with socket.socket() as client:
        port = connect_from_free_port(client)
        with pytest.raises(RunError, match=r"is in use by a connection, though nothing listens on it: try"):
            check_ports({"GATEWAY_PORT": port})


def connect_from_free_port(client: socket.socket) -> int:
    """Connect `client` to nobody's listener and return the port it has for that."""
    client.bind(("127.0.0.1", free_port()))
    with socket.create_server(("127.0.0.1", 0)) as server:
        client.connect(server.getsockname())
        server.accept()[0].close()  # first, so that the client's own end leaves no TIME_WAIT
    return int(client.getsockname()[1])


def test_a_port_taken_on_every_address_is_taken() -> None:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))  # noqa: S104 (what is tested)
        listener.listen()
        with pytest.raises(RunError, match="is taken"):
            check_ports({"ABTEST_PORT": listener.getsockname()[1]})


def test_free_ports_pass_and_stay_free(taken_port: int) -> None:
    port = free_port()
    check_ports({"GATEWAY_PORT": port})
    check_ports({"GATEWAY_PORT": port})
    assert listener_of(port) is None
    assert listener_of(taken_port) == os.getpid()


def test_one_port_for_two_settings_is_refused() -> None:
    with pytest.raises(RunError, match="port 9000 is given to both GATEWAY_PORT and ABTEST_PORT"):
        check_ports({"GATEWAY_PORT": 9000, "ABTEST_PORT": 9000})


def test_a_port_of_lately_closed_connections_passes() -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as every server of ours does
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        server, _ = listener.accept()
        server.close()  # the listener's side closes first and keeps TIME_WAIT
        client.close()
    check_ports({"GATEWAY_PORT": port})
