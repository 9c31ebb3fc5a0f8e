"""An environment of its own for public clients: theirs wants protobuf < 7, ours is newer."""

import hashlib
import shutil
from pathlib import Path

import pytest

from tests.environments import InstallError, make_environment

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements" / "interop.txt"
ENVIRONMENT = ROOT / ".venv-interop"
STAMP = ENVIRONMENT / "lock.sha256"


@pytest.fixture(scope="session")
def interop_python() -> Path:
    """The interpreter that has tritonclient; built when absent or when the lock has changed."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    python = ENVIRONMENT / "bin" / "python"
    if not STAMP.exists() or STAMP.read_text() != digest:
        try:
            make_environment(ENVIRONMENT, LOCK)
        except InstallError as error:
            shutil.rmtree(ENVIRONMENT, ignore_errors=True)
            pytest.skip(f"the tritonclient environment cannot be installed: {error}")
        STAMP.write_text(digest)
    return python
