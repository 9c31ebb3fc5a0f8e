"""An environment of its own for public clients: theirs wants protobuf < 7, ours is newer."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements" / "interop.txt"
ENVIRONMENT = ROOT / ".venv-interop"
STAMP = ENVIRONMENT / "lock.sha256"


def run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        pytest.skip(f"the tritonclient environment cannot be installed: {' '.join(last)}")


def build_environment(python: Path) -> None:
    """Create the environment from the hashed lock, with uv where this environment has it."""
    run(sys.executable, "-m", "venv", "--clear", ENVIRONMENT)
    uv = Path(sys.executable).parent / "uv"
    if uv.exists():
        run(uv, "pip", "install", "--system-certs", "--python", python, "--require-hashes", "-r", LOCK)
    else:
        run(python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", LOCK)


@pytest.fixture(scope="session")
def interop_python() -> Path:
    """The interpreter that has tritonclient; built when absent or when the lock has changed."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    python = ENVIRONMENT / "bin" / "python"
    if not STAMP.exists() or STAMP.read_text() != digest:
        build_environment(python)
        STAMP.write_text(digest)
    return python
