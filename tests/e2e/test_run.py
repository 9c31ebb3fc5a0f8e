"""`make run`, as a person meets it: one real run for what only asks, others for how it starts and stops."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.local_run import LIMIT_SECONDS, REPOSITORY, LocalRun, free_ports, is_running, listens


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRun]:
    with LocalRun(tmp_path_factory.mktemp("run") / "data") as run:
        yield run.until_ready()


def data_dir(run: LocalRun) -> Path:
    return Path(run.settings["DATA_DIR"])


def until_ended(pids: set[int], seconds: float = LIMIT_SECONDS) -> set[int]:
    """Wait for processes to end; return those that still live."""
    deadline = time.monotonic() + seconds
    while (alive := {pid for pid in pids if is_running(pid)}) and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive


def test_a_ready_run_is_healthy_and_empty(running: LocalRun) -> None:
    assert running.health() == 200
    status, body = running.get("/api/catalog/campaigns")
    assert (status, json.loads(body).get("campaigns", [])) == (200, [])


def test_everything_starts_in_readiness_order(running: LocalRun) -> None:
    text = running.output
    first_lines = [
        re.search(rf"^{name} +\|", text, re.MULTILINE)
        for name in ("postgres", "model-server", "analytics", "gateway")
    ]
    starts = [match.start() for match in first_lines if match is not None]
    assert starts == sorted(starts)
    assert text.index("migrating the schemas") < text.index("model-server |")


def test_urls_and_three_calls_with_answers_are_printed(running: LocalRun) -> None:
    text = running.output
    assert f"REST        {running.gateway}/api/" in text
    assert text.count("answers:") == 3
    assert "curl -s 'http://127.0.0.1:" in text
    assert '"total_campaigns"' in text
    assert "--protocol grpc" in text
    assert "campaigns_pb2_grpc" in text or "catalog_service_pb2_grpc" in text
    assert "not made" not in text
    assert "Traceback" not in text


def test_logs_are_kept_one_file_per_process(running: LocalRun) -> None:
    logs = data_dir(running) / "logs"
    assert {"run.log", "postgres.log", "analytics.log", "abtest.log"} <= {
        path.name for path in logs.iterdir()
    }
    assert "migrating the schemas" in (logs / "run.log").read_text()


def test_secrets_are_closed_to_others(running: LocalRun) -> None:
    assert (data_dir(running) / "passwords.json").stat().st_mode & 0o077 == 0
    passwords = json.loads((data_dir(running) / "passwords.json").read_text()).values()
    commands = " ".join(running.children().values())
    assert not any(password in commands or password in running.output for password in passwords)


@pytest.mark.parametrize("service", ["abtest", "model_server"])
def test_a_killed_service_makes_the_gateway_unhealthy_until_it_is_restarted(
    running: LocalRun, service: str
) -> None:
    name = service.replace("_", "-")
    pid = running.child(f"services.{service}")
    os.kill(pid, signal.SIGKILL)
    running.until_said(f"{name} died (signal SIGKILL); restart in")
    running.until_said(f"{name} is ready again")
    running.until_answered()
    assert running.child(f"services.{service}") != pid


def test_a_killed_database_is_restarted_and_the_services_find_it_again(running: LocalRun) -> None:
    os.kill(running.child("/postgres -D"), signal.SIGKILL)
    running.until_said("postgres died (signal SIGKILL)")
    running.until_said("postgres is ready again")
    running.until_answered()
    running.until_answered("/api/catalog/campaigns")
    assert "postgres is recovering" in running.output
    for noise in ("starting up", "not yet accepting", "unexpected postmaster exit", "STATEMENT:"):
        assert noise not in running.output
    log = (data_dir(running) / "logs" / "postgres.log").read_text()
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ UTC \[\d+\] LOG:  ", log, re.M)


def test_a_second_run_on_the_same_ports_is_refused_by_port_and_setting(
    running: LocalRun, tmp_path: Path
) -> None:
    with LocalRun(tmp_path, GATEWAY_PORT=running.settings["GATEWAY_PORT"]) as second:
        assert second.wait() == 1
    (line,) = second.lines
    assert f"port {running.settings['GATEWAY_PORT']} (GATEWAY_PORT) is taken by process" in line
    assert "envoy" in line
    assert f"stop the run (kill {running.process.pid})" in line


def test_a_second_run_beside_the_first_is_told_of_the_run_not_of_its_ports(running: LocalRun) -> None:
    with LocalRun(data_dir(running), **{name: running.settings[name] for name in free_ports()}) as second:
        assert second.wait() == 1
    (line,) = second.lines
    assert f"another run (process {running.process.pid}) uses {data_dir(running)}" in line
    assert "python -m deploy.local" in line or "python3 -m deploy.local" in line


def test_every_taken_port_is_named_with_the_run_to_stop(running: LocalRun, tmp_path: Path) -> None:
    with LocalRun(tmp_path, **{name: running.settings[name] for name in free_ports()}) as second:
        assert second.wait() == 1
    first, *rest = second.lines
    assert first.startswith(f"11 ports are taken: stop the run (kill {running.process.pid}) or")
    assert all(f"({name}) is taken by process" in line for name, line in zip(free_ports(), rest, strict=True))


def test_a_second_run_on_the_same_data_is_refused(running: LocalRun) -> None:
    with LocalRun(data_dir(running)) as second:
        assert second.wait() == 1
    (line,) = second.lines
    assert f"another run (process {running.process.pid}) uses {data_dir(running)}" in line
    running.until_answered()


def test_whatever_ends_a_run_nothing_outlives_it_and_its_data_starts_again(tmp_path: Path) -> None:
    ports = free_ports()
    with LocalRun(tmp_path, **ports) as first:
        assert_stops_whole(first, signal.SIGTERM)
        assert "created a PostgreSQL cluster" in first.output

    with LocalRun(tmp_path, **ports) as killed:
        children = set(killed.until_ready().children())
        assert "created a PostgreSQL cluster" not in killed.output
        assert killed.health() == 200
        assert (tmp_path / "logs" / "run.log.1").read_text() != (tmp_path / "logs" / "run.log").read_text()
        killed.process.kill()
        killed.wait()
    assert until_ended(children) == set()

    with LocalRun(tmp_path, **ports) as again:
        assert_stops_whole(again, signal.SIGINT)


def assert_stops_whole(run: LocalRun, number: signal.Signals) -> None:
    """Stop a run once it is ready: in order, and with nothing left of it."""
    children = set(run.until_ready().children())
    assert len(children) >= 6
    assert run.stop(number) == 0
    assert until_ended(children) == set()
    assert not any(listens(int(port)) for name, port in run.settings.items() if name.endswith("_PORT"))
    assert not (data_dir(run) / "run.lock").exists()
    assert not (data_dir(run) / "postgres" / "postmaster.pid").exists()
    stops = [line.split()[2] for line in run.lines if re.fullmatch(r"run +\| [a-z-]+ stopped", line)]
    assert (stops[0], *stops[-2:]) == ("gateway", "model-server", "postgres")


def test_an_orphan_on_a_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    source = (
        "import socket, sys\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "print(listener.getsockname()[1], flush=True)\n"
        "sys.stdin.read()"
    )
    orphan = subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with orphan:
        assert orphan.stdout is not None
        port = orphan.stdout.readline().strip()
        with LocalRun(tmp_path / "data", OPTIMIZER_PORT=port) as run:
            assert run.wait() == 1
        orphan.kill()
    (line,) = run.lines
    assert f"port {port} (OPTIMIZER_PORT) is taken by process {orphan.pid}" in line
    assert not (tmp_path / "data").exists()


def test_a_failed_start_shows_the_last_lines_and_stops_the_rest(tmp_path: Path) -> None:
    with LocalRun(tmp_path, REPORTING_TIME_ZONE="Nowhere/Land") as run:
        children: set[int] = set()
        run.until_said("migrating the schemas")
        children |= set(run.children())
        assert run.wait() == 1
    assert until_ended(children) == set()
    assert "failed: analytics ended with status" in run.output
    assert re.search(r"^run +\|   .*reporting_time_zone.*Nowhere/Land", run.output, re.M | re.I)


def test_a_wrong_setting_fails_by_name(tmp_path: Path) -> None:
    with LocalRun(tmp_path, GATEWAY_PORT="eighty") as run:
        assert run.wait() == 2
    assert run.lines[0].startswith("setting GATEWAY_PORT:")


def test_help_lists_every_setting() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "deploy.local", "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(name in result.stdout for name in ("DATA_DIR", "DEMO", "DATABASE_URL", *free_ports()))
