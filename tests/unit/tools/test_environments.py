"""Environments that are kept: made once per lock, and none left where one cannot be made."""

from pathlib import Path

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
