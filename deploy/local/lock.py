"""One run per DATA_DIR: a lock the kernel frees when its holder dies, however it dies.

Only the standard library: `clean_data` uses it before there is an environment.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.errors import RunError
from deploy.local.processes import command_name

LOCK_NAME = "run.lock"


@contextmanager
def data_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of the data folder `folder`, which exists; its file is gone afterwards.

    Raises:
        RunError: another run holds it; the message names the process.
    """
    path = folder / LOCK_NAME
    descriptor = _acquire(path)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def lock_holder(folder: Path) -> int | None:
    """Return the process that holds the lock of `folder`; None if nobody does, 0 if it cannot be told."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def check_unlocked(folder: Path) -> None:
    """Raise the RunError of `data_lock` if another process holds the lock; make nothing."""
    holder = lock_holder(folder)
    if holder is not None:
        raise _held_error(folder, holder)


def _holder(descriptor: int) -> int:
    text = os.pread(descriptor, 20, 0).decode().strip()
    return int(text) if text.isdecimal() else 0


def _held_error(folder: Path, holder: int) -> RunError:
    if not holder:
        return RunError(f"another run uses {folder}: stop it, or choose another DATA_DIR")
    return RunError(
        f"another run (process {holder}) uses {folder}, started as {command_name(holder)}: "
        f"stop it (kill {holder}), or choose another DATA_DIR"
    )


def _acquire(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise _held_error(path.parent, holder) from None
        if _same_file(path, descriptor):
            return descriptor
        os.close(descriptor)  # the last holder removed the file between our open and our lock


def _same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
