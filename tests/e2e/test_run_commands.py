"""`make psql`, `reconcile` and `rebuild` on the data of a run, while it runs and after it."""

import socket
import subprocess
import sys
from pathlib import Path

from deploy.local.settings import RunSettings
from tests.e2e.local_run import REPOSITORY, LocalRun, free_ports, untraced_environment

BERLIN = "Europe/Berlin"


def make(target: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Do what the recipe of `target` does, with the settings make would hand on."""
    unset = {name.upper() for name in RunSettings.model_fields}
    inherited = {name: value for name, value in untraced_environment().items() if name not in unset}
    return subprocess.run(
        [sys.executable, "-m", "deploy.local.with_database", target],
        cwd=REPOSITORY,
        env={**inherited, "DATA_DIR": str(folder), **settings},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_the_kept_data_is_at_hand_while_the_system_is_up_and_down(tmp_path: Path) -> None:
    ports = free_ports()
    count = "-At -c \"select current_user, count(*), current_setting('port') from campaigns\""
    port = ports["POSTGRES_PORT"]
    with LocalRun(tmp_path, **ports) as run:
        run.until_ready()
        assert f"make psql DATA_DIR={tmp_path}" in run.output
        assert make("psql", tmp_path, ARGS=count).stdout == f"reporting|0|{port}\n"
        assert "every rollup equals a recount" in make("reconcile", tmp_path).stdout
        assert run.health() == 200
        run.stop()

    psql = make("psql", tmp_path, POSTGRES_PORT=port, ARGS=count, ROLE="analytics")
    assert psql.stdout == f"analytics|0|{port}\n"
    with socket.create_server(("127.0.0.1", int(port))):
        reconciled = make("reconcile", tmp_path, POSTGRES_PORT=port)
    assert "every rollup equals a recount" in reconciled.stdout
    assert not (tmp_path / "run.lock").exists()
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()

    with LocalRun(tmp_path, **ports, REPORTING_TIME_ZONE=BERLIN) as other:
        assert other.wait() == 1
    (failed,) = [line for line in other.lines if "failed:" in line]
    assert f"`make rebuild REPORTING_TIME_ZONE={BERLIN} DATA_DIR={tmp_path}`" in failed
    assert "analytics    |" not in other.output

    rebuilt = make("rebuild", tmp_path, POSTGRES_PORT=port, REPORTING_TIME_ZONE=BERLIN)
    assert rebuilt.returncode == 0
    assert rebuilt.stdout.splitlines()[-1] == f"every rollup is counted again, in the days of {BERLIN}"
    with LocalRun(tmp_path, **ports) as kept:
        kept.until_ready()
