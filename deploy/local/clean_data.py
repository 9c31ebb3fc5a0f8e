"""`make clean-data`: removes what runs keep in DATA_DIR, and nothing else that may lie there.

Only the standard library, so it needs no environment.
"""

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from deploy.local.errors import RunError
from deploy.local.lock import data_lock

KEPT = (
    "demo.json",
    "demo.unfinished",
    "envoy.yaml",
    "logs",
    "models",
    "passwords.json",
    "passwords.unfinished",
    "postgres",
    "postgres.unfinished",
)
_MEGABYTE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """What was removed, with its size in bytes, and what is another's and stays."""

    removed: Mapping[str, int]
    left: tuple[str, ...] = ()

    def describe(self, folder: Path) -> str:
        """Return a line that says what became of `folder`."""
        if not self.removed:
            others = f", only {', '.join(self.left)}" if self.left else ""
            state = f"holds nothing a run keeps{others}" if folder.exists() else "is not there"
            return f"nothing to remove: {folder} {state}"
        parts = ", ".join(f"{name} ({_megabytes(size)})" for name, size in self.removed.items())
        rest = (
            f"left there, as no run keeps it: {', '.join(self.left)}" if self.left else "the folder is gone"
        )
        total = _megabytes(sum(self.removed.values()))
        return f"removed from {folder}: {parts}; {total} in all; {rest}"


def clean_data(folder: Path) -> Cleaned:
    """Remove what runs keep in `folder`, and the folder when it is empty then.

    Raises:
        RunError: a run uses the folder now.
    """
    if not folder.is_dir():
        return Cleaned(removed={})
    with data_lock(folder):
        sizes = {name: size_of(folder / name) for name in KEPT if (folder / name).exists()}
        for path in (folder / name for name in sizes):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    left = tuple(sorted(path.name for path in folder.iterdir()))
    if sizes and not left:
        folder.rmdir()
    return Cleaned(removed=sizes, left=left)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files beneath a folder."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())


def _megabytes(size: int) -> str:
    return f"{size / _MEGABYTE:,.0f} MB" if size >= _MEGABYTE else "under 1 MB"


def main() -> int:
    """Clean DATA_DIR; return the exit status."""
    folder = Path(os.environ.get("DATA_DIR") or ".data").expanduser().absolute()
    try:
        print(clean_data(folder).describe(folder))
    except RunError as error:
        print(error, file=sys.stderr)
        return 1
    if os.environ.get("DATABASE_URL"):
        print("the database of DATABASE_URL is left as it is: its data is not the run's to remove")
    return 0


if __name__ == "__main__":
    sys.exit(main())
