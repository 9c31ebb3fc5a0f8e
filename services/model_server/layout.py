"""The repository on disk: `<model>/config.pbtxt`, `<model>/<version>/model.onnx`. Reads, never writes."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from services.common.errors import FailedPreconditionError

Signature: TypeAlias = tuple[tuple[str, int, int, int], ...]
"""What changes when a file does: path below the folder, time of change, size, inode; sorted by path."""

CONFIG_FILE = "config.pbtxt"
_VERSION = re.compile(r"^(0|[1-9]\d{0,17})$")
_MAXIMUM_CONFIG_BYTES = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A repository folder.

    A folder whose name begins with a dot is no model, and one that is not named by a plain number is no
    version: a publisher may write there and then rename.
    """

    root: Path

    def exists(self) -> bool:
        """Tell whether the folder is there to be read."""
        return self.root.is_dir()

    def list_models(self) -> list[str]:
        """Return the models' names, sorted; none where there is no folder."""
        if not self.exists():
            return []
        return sorted(
            entry.name for entry in self.root.iterdir() if entry.is_dir() and not entry.name.startswith(".")
        )

    def list_versions(self, model: str) -> list[int]:
        """Return the versions that have a folder, newest (highest) first."""
        return sorted(
            (
                int(entry.name)
                for entry in (self.root / model).iterdir()
                if _VERSION.match(entry.name) and entry.is_dir()
            ),
            reverse=True,
        )

    def version_folder(self, model: str, version: int) -> Path:
        """Return the folder of one version."""
        return self.root / model / str(version)

    def read_config(self, model: str) -> str:
        """Return the text of the model's config.pbtxt; empty where it has none.

        Raises:
            FailedPreconditionError: the file is no text, or far too long to be a config.
        """
        path = self.root / model / CONFIG_FILE
        if not path.is_file():
            return ""
        if path.stat().st_size > _MAXIMUM_CONFIG_BYTES:
            raise _unreadable(f"is longer than {_MAXIMUM_CONFIG_BYTES} bytes")
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise _unreadable("is not UTF-8 text") from error

    def sign_version(self, model: str, version: int) -> Signature:
        """Return the signature of one version's files."""
        return _sign(self.version_folder(model, version))

    def sign_model(self, model: str) -> Signature:
        """Return the signature of a model: its config and all its versions' files."""
        return _sign(self.root / model)


def _sign(folder: Path) -> Signature:
    entries = []
    for path in folder.rglob("*"):
        status = path.stat()
        entries.append((str(path.relative_to(folder)), status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(sorted(entries))


def _unreadable(why: str) -> FailedPreconditionError:
    return FailedPreconditionError(f"{CONFIG_FILE} {why}", reason="MODEL_CONFIG_INVALID")
