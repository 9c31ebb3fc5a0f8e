"""Environments that are kept: made once per lock, and none left where one cannot be made."""

import fcntl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from tools import environments
from tools.environments import InstallError, keep_environment


class Installer:
    """Stands in for pip and uv: makes the folder, and fails where it is told to."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.fails = False

    def __call__(self, folder: Path, lock: Path) -> Path:
        folder.mkdir(exist_ok=True)
        if self.fails:
            raise InstallError("no such package")
        self.made.append(lock.read_text())
        return folder / "bin" / "python"


@pytest.fixture
def installer(monkeypatch: pytest.MonkeyPatch) -> Installer:
    stand_in = Installer()
    monkeypatch.setattr(environments, "make_environment", stand_in)
    return stand_in


def test_an_environment_is_made_once_for_every_lock(tmp_path: Path, installer: Installer) -> None:
    folder, lock = tmp_path / "environment", tmp_path / "lock.txt"
    for text in ("a==1", "a==1", "a==2"):
        lock.write_text(text)
        assert keep_environment(folder, lock) == folder / "bin" / "python"
    assert installer.made == ["a==1", "a==2"]


def test_who_asks_while_it_is_made_waits_for_it(
    tmp_path: Path, installer: Installer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, lock = tmp_path / "environment", tmp_path / "lock.txt"
    lock.write_text("a==1")
    asking = threading.Semaphore(0)

    def noted_flock(descriptor: int, operation: int) -> None:
        asking.release()
        fcntl.flock(descriptor, operation)

    def make_once_both_ask(folder: Path, lock: Path) -> Path:
        for _ in range(2):
            assert asking.acquire(timeout=60)
        return installer(folder, lock)

    monkeypatch.setattr(environments, "fcntl", SimpleNamespace(flock=noted_flock, LOCK_EX=fcntl.LOCK_EX))
    monkeypatch.setattr(environments, "make_environment", make_once_both_ask)
    with ThreadPoolExecutor(2) as threads:
        given = list(threads.map(lambda _: keep_environment(folder, lock), range(2)))
    assert given == [folder / "bin" / "python"] * 2
    assert installer.made == ["a==1"]


def test_of_one_that_cannot_be_made_nothing_is_left(tmp_path: Path, installer: Installer) -> None:
    folder, lock = tmp_path / "environment", tmp_path / "lock.txt"
    lock.write_text("a==1")
    installer.fails = True
    with pytest.raises(InstallError):
        keep_environment(folder, lock)
    assert not folder.exists()
    installer.fails = False
    keep_environment(folder, lock)
    assert installer.made == ["a==1"]
