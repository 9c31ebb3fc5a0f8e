"""One run per DATA_DIR: a lock the kernel frees when its holder dies, however it dies.

Only the standard library: `clean_data` uses it before there is an environment.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.errors import RunError

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


def _acquire(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode().strip() or "unknown"
            os.close(descriptor)
            raise RunError(
                f"another run (process {holder}) uses {path.parent}: stop it, or choose another DATA_DIR"
            ) from None
        if _same_file(path, descriptor):
            return descriptor
        os.close(descriptor)  # the last holder removed the file between our open and our lock


def _same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
