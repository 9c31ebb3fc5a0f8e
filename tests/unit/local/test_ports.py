import os
import socket
from collections.abc import Iterator

import pytest

from deploy.local.errors import RunError
from deploy.local.ports import check_ports, listener_of


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


def test_a_port_taken_on_every_address_is_taken() -> None:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))  # noqa: S104 (what is tested)
        listener.listen()
        with pytest.raises(RunError, match="is taken"):
            check_ports({"ABTEST_PORT": listener.getsockname()[1]})


def test_free_ports_pass_and_stay_free(taken_port: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
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
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        server, _ = listener.accept()
        server.close()  # the listener's side closes first and keeps TIME_WAIT
        client.close()
    check_ports({"GATEWAY_PORT": port})
