"""Environments of their own: made from a hashed lock, by uv where this one has it, else by pip."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_STAMP = "lock.sha256"


class InstallError(Exception):
    """The environment cannot be made here; the text is the installer's last line."""


def make_environment(folder: Path, lock: Path) -> Path:
    """Make the environment `folder` with what `lock` names and nothing else; returns its interpreter."""
    python = folder / "bin" / "python"
    _run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)])
    uv = Path(sys.executable).parent / "uv"
    options = ["--require-hashes", "-r", str(lock)]
    try:
        _run([str(uv), "pip", "install", "--system-certs", "--python", str(python), *options])
    except (InstallError, OSError):  # no uv, or an index that only pip's own settings name
        _run([str(python), "-m", "ensurepip"])
        _run([str(python), "-m", "pip", "install", "--quiet", *options])
    return python


def keep_environment(folder: Path, lock: Path) -> Path:
    """Return the interpreter of the environment `folder`; made where it is absent or `lock` has changed.

    Several processes may ask at once: one makes it, and the others wait until it has.

    Raises:
        InstallError: it cannot be made here; nothing of it is left.
    """
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    stamp, python = folder / _STAMP, folder / "bin" / "python"
    with _alone_at(folder):
        if stamp.is_file() and stamp.read_text() == digest:
            return python
        try:
            make_environment(folder, lock)
        except InstallError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        stamp.write_text(digest)
    return python


@contextmanager
def _alone_at(folder: Path) -> Iterator[None]:
    """Let only one process at a time into the block, by a lock on the folder that `folder` lies in."""
    descriptor = os.open(folder.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise InstallError(" ".join(last))
