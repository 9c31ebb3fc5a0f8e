import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.errors import RunError
from deploy.local.lock import LOCK_NAME, check_unlocked, data_lock, lock_holder

HOLDER = """
import sys
from pathlib import Path
from deploy.local.lock import data_lock
with data_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_on_the_same_data_is_refused_and_names_the_first(tmp_path: Path) -> None:
    with data_lock(tmp_path), pytest.raises(RunError) as raised, data_lock(tmp_path):
        pass
    assert f"another run (process {os.getpid()}) uses {tmp_path}" in str(raised.value)


def test_a_lock_is_seen_without_taking_it(tmp_path: Path) -> None:
    check_unlocked(tmp_path / "nowhere")
    with data_lock(tmp_path):
        assert lock_holder(tmp_path) == os.getpid()
        with pytest.raises(RunError, match=rf"uses {tmp_path}, started as .*kill {os.getpid()}"):
            check_unlocked(tmp_path)
    assert lock_holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_the_lock_leaves_no_file(tmp_path: Path) -> None:
    with data_lock(tmp_path):
        assert (tmp_path / LOCK_NAME).exists()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError), data_lock(tmp_path):
            pass
        holder.kill()
        holder.wait()
        with data_lock(tmp_path):
            assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"
