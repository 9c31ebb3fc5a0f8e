"""Where PostgreSQL comes from, and what is said where it cannot run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import postgres
from deploy.local.errors import RunError
from deploy.local.postgres import Cluster, find_binaries, remove_stale_pid_file

REPOSITORY = Path(__file__).resolve().parents[3]
# Root of a user namespace of its own, in which no further one may be made.
WITHOUT_NAMESPACES = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
CREATE = """
import sys
from pathlib import Path
from deploy.local.errors import RunError
from deploy.local.postgres import Cluster
try:
    Cluster(folder=Path(sys.argv[1]), port=1, password="x").create(durable=False)
except RunError as error:
    sys.exit(str(error))
"""


def test_root_without_user_namespaces_is_told_of_database_url(tmp_path: Path) -> None:
    enter = ["unshare", "--user", "--map-root-user", "sh", "-c", WITHOUT_NAMESPACES, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*enter, "true"], check=False).returncode != 0:
        pytest.skip("this machine cannot forbid user namespaces to a test")
    command = [*enter, sys.executable, "-c", CREATE, str(tmp_path / "data")]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "user namespaces are forbidden" in line
    assert "DATABASE_URL" in line


def test_pg_bin_goes_before_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (find_binaries() / "postgres").is_file()
    for name in ("initdb", "postgres"):
        (tmp_path / name).touch()
    monkeypatch.setenv("PG_BIN", str(tmp_path))
    assert find_binaries() == tmp_path


def test_missing_binaries_are_told_with_both_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PG_BIN", str(tmp_path))
    with pytest.raises(RunError, match=rf"PG_BIN={tmp_path}.*DATABASE_URL"):
        find_binaries()


def test_an_interrupted_creation_is_repeated(tmp_path: Path) -> None:
    (tmp_path / "data.unfinished").mkdir()
    (tmp_path / "data.unfinished" / "PG_VERSION").write_text("18\n")
    cluster = Cluster(folder=tmp_path / "data", port=1, password="secret")
    assert cluster.create(durable=False) is True
    assert cluster.create(durable=False) is False
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_initdbs_own_words_are_shown_when_it_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cluster = Cluster(folder=tmp_path / "data", port=1, password="")
    with pytest.raises(RunError, match="initdb failed") as raised:
        cluster.create(durable=False)
    assert "password" in " ".join(raised.value.details)


def test_the_password_is_in_no_command_line(tmp_path: Path) -> None:
    cluster = Cluster(folder=tmp_path, port=5, password="secret-word")
    assert not any("secret-word" in argument for argument in cluster.command())
    assert "secret-word" not in repr(cluster)


@pytest.mark.parametrize(
    "content",
    ["999999999\n", "not a number\n", f"{os.getpid()}\n"],
    ids=["no process's", "no number", "another process's"],
)
def test_a_stale_pid_file_is_removed_even_where_its_number_lives_on(tmp_path: Path, content: str) -> None:
    (tmp_path / "postmaster.pid").write_text(content)
    remove_stale_pid_file(tmp_path)
    assert not (tmp_path / "postmaster.pid").exists()


def test_a_server_that_still_runs_is_named(postgres_server: Cluster) -> None:
    pid = (postgres_server.folder / "postmaster.pid").read_text().splitlines()[0]
    with pytest.raises(RunError, match=rf"process {pid}.*kill -INT {pid}"):
        postgres_server.command()
    assert (postgres_server.folder / "postmaster.pid").exists()


def test_a_machine_with_root_alone_is_told_of_database_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.local.postgres.os.geteuid", lambda: 0)
    monkeypatch.setattr("deploy.local.postgres.pwd.getpwall", list)
    with pytest.raises(RunError, match="DATABASE_URL"):
        postgres.server_user()
