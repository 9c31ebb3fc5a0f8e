"""Programs that stand in for the processes that the optimizer starts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from services.common import child_process


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Return what makes a program a module of the optimizer, in a package root of its own."""
    monkeypatch.setattr(child_process, "_ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)

    def become(module: str, program: str) -> None:
        package = tmp_path / "services/optimizer" / module
        package.mkdir(parents=True)
        for folder in (package, package.parent, package.parent.parent):
            (folder / "__init__.py").touch()
        (package / "__main__.py").write_text(program)

    return become
