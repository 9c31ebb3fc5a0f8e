"""`make clean-data`: removes what runs keep in DATA_DIR, and nothing else that may lie there.

Only the standard library, so it needs no environment.
"""

import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from deploy.local.errors import RunError
from deploy.local.lock import data_lock

KEPT = (
    "demo.json",
    "envoy.yaml",
    "logs",
    "models",
    "passwords.json",
    "passwords.unfinished",
    "postgres",
    "postgres.unfinished",
)


def clean_data(folder: Path) -> list[str]:
    """Remove what runs keep in `folder`, and the folder when it is empty then; return what was removed.

    Raises:
        RunError: a run uses the folder now.
    """
    if not folder.is_dir():
        return []
    with data_lock(folder):
        found = [folder / name for name in KEPT if (folder / name).exists()]
        for path in found:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()
    return [path.name for path in found]


def main() -> int:
    """Clean DATA_DIR; return the exit status."""
    folder = Path(os.environ.get("DATA_DIR") or ".data").expanduser().absolute()
    try:
        removed = clean_data(folder)
    except RunError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{folder} is empty now" if removed else f"{folder} was empty already")
    if os.environ.get("DATABASE_URL"):
        print("the database of DATABASE_URL is left as it is: its data is not the run's to remove")
    return 0


if __name__ == "__main__":
    sys.exit(main())
