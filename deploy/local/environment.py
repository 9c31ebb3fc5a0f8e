"""Makes `.venv` hold what a target needs: `environment.py run|test [EXTRA...]`.

Run with the system's Python and nothing but its standard library. Everything comes from the hashed locks in
`requirements/`. An environment only grows: after `make test`, `make run` finds what it needs and neither
removes nor reinstalls anything. When a lock has changed, the environment is brought to the new one.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENT = REPOSITORY / ".venv"
STAMP = ENVIRONMENT / "installed.json"
REQUIREMENTS = REPOSITORY / "requirements"
# Each level holds all of the one before it.
LEVELS = ("run", "test")
INSTALLER = "uv"


def main(arguments: Sequence[str]) -> int:
    """Install what is missing for a level and extras; return the exit status."""
    level, *extras = arguments
    with _one_at_a_time():
        stamp = _read_stamp()
        names = wanted_locks(level, extras, installed=stamp.get("locks", []))
        digest = digest_of(names)
        if stamp.get("digest") == digest and _works(ENVIRONMENT / "bin" / "python"):
            return 0
        STAMP.unlink(missing_ok=True)
        if not _works(ENVIRONMENT / "bin" / "python") and not _create():
            return 1
        if not _install(names):
            return 1
        STAMP.write_text(json.dumps({"locks": names, "digest": digest}, indent=2) + "\n")
        return 0


def wanted_locks(level: str, extras: Sequence[str], *, installed: Sequence[str]) -> list[str]:
    """Return the locks the environment should hold: those asked for, and those it holds already."""
    highest = max([level, *(name for name in installed if name in LEVELS)], key=LEVELS.index)
    return [highest, *sorted({*extras, *(name for name in installed if name not in {*LEVELS, INSTALLER})})]


def digest_of(names: Sequence[str]) -> str:
    """Return what changes whenever one of the locks does."""
    content = b"".join(name.encode() + _lock(name).read_bytes() for name in [*names, INSTALLER])
    return hashlib.sha256(content).hexdigest()


def _create() -> bool:
    """Create the environment with pip inside; say how to when this Python cannot."""
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    print(f"creating {ENVIRONMENT} with Python {sys.version.split()[0]}", flush=True)
    if find_spec("venv") is not None and find_spec("ensurepip") is not None:
        return _succeeds([sys.executable, "-m", "venv", str(ENVIRONMENT)])
    if find_spec("venv") is not None and find_spec("pip") is not None:
        return _succeeds([sys.executable, "-m", "venv", "--without-pip", str(ENVIRONMENT)])
    print(
        f"{sys.executable} has no venv module with pip: install it (Debian: apt install python3-venv), "
        "or name another Python with PYTHON=<path>",
        file=sys.stderr,
    )
    return False


def _install(names: Sequence[str]) -> bool:
    """Install the locks: by uv, which takes seconds, or by pip where uv is not to be had."""
    files = [str(_lock(name)) for name in names]
    print(f"installing {', '.join(f'requirements/{name}.txt' for name in names)}", flush=True)
    pip = [*_pip(), "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    if _succeeds([*pip, "--requirement", str(_lock(INSTALLER))]) and _sync(files):
        return True
    # uv knows nothing of pip's settings; an index that only those name is reached by pip alone.
    print("uv cannot install here; pip does, which takes a minute longer", flush=True)
    return _succeeds([*pip, *(argument for file in files for argument in ("--requirement", file))])


def _sync(files: Sequence[str]) -> bool:
    python = ENVIRONMENT / "bin" / "python"
    command = [str(ENVIRONMENT / "bin" / INSTALLER), "pip", "sync", "--quiet", "--system-certs"]
    arguments = ["--python", str(python), "--require-hashes", *files, str(_lock(INSTALLER))]
    return _succeeds([*command, *arguments])


def _pip() -> list[str]:
    own = ENVIRONMENT / "bin" / "pip"
    if own.exists():
        return [str(ENVIRONMENT / "bin" / "python"), "-m", "pip"]
    return [sys.executable, "-m", "pip", "--python", str(ENVIRONMENT / "bin" / "python")]


def _lock(name: str) -> Path:
    return REQUIREMENTS / f"{name}.txt"


def _works(python: Path) -> bool:
    return python.exists() and _succeeds([str(python), "-c", ""])


def _succeeds(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, check=False).returncode == 0
    except OSError as error:
        print(error, file=sys.stderr)
        return False


def _read_stamp() -> dict[str, list[str] | str]:
    try:
        stamp: dict[str, list[str] | str] = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep two makes apart that would install at the same time; the repository's folder is the lock."""
    descriptor = os.open(REPOSITORY, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
