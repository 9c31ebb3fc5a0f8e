"""An environment of its own for public clients: theirs wants protobuf < 7, ours is newer."""

from pathlib import Path

import pytest

from tools.environments import InstallError, keep_environment

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def interop_python() -> Path:
    """The interpreter that has tritonclient; built when absent or when the lock has changed."""
    try:
        return keep_environment(ROOT / ".venv-interop", ROOT / "requirements" / "interop.txt")
    except InstallError as error:
        pytest.skip(f"the tritonclient environment cannot be installed: {error}")
