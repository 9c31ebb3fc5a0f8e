from pathlib import Path

import pytest

from deploy.local import environment
from deploy.local.environment import digest_of, wanted_locks


@pytest.mark.parametrize(
    ("level", "extras", "installed", "expected"),
    [
        ("run", [], [], ["run"]),
        ("test", [], ["run"], ["test"]),
        ("run", [], ["test"], ["test"]),
        ("run", ["complete_journey"], ["test"], ["test", "complete_journey"]),
        ("test", [], ["run", "complete_journey"], ["test", "complete_journey"]),
    ],
)
def test_an_environment_only_grows(
    level: str, extras: list[str], installed: list[str], expected: list[str]
) -> None:
    assert wanted_locks(level, extras, installed=installed) == expected


def test_a_changed_lock_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "REQUIREMENTS", tmp_path)
    for name in ("run", "test", "uv"):
        (tmp_path / f"{name}.txt").write_text(f"{name}==1\n")
    before = digest_of(["run"])
    assert digest_of(["run"]) == before != digest_of(["test"])
    (tmp_path / "run.txt").write_text("run==2\n")
    assert digest_of(["run"]) != before


def test_locks_name_no_address_and_hash_every_package() -> None:
    locks = sorted(environment.REQUIREMENTS.glob("*.txt"))
    assert {"run", "test", "uv"} <= {path.stem for path in locks}
    for path in locks:
        text = path.read_text()
        assert "://" not in text, path.name
        packages = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert packages, path.name
        assert all(line.endswith("\\") for line in packages), path.name
