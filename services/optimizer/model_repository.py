"""Writes the model repository in Triton's layout; every change appears whole or not at all.

`<repository>/<model>/config.pbtxt` and `<repository>/<model>/<version>/model.onnx`. A version is written into
a folder whose name begins with a dot, which no server reads, and then renamed. `config.pbtxt` names the
versions to serve, so that a rejected version's folder never takes the live one's place.
"""

import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from services.common.errors import InternalError
from services.optimizer.domain.features import FEATURE_NAMES
from services.optimizer.domain.models.version import INPUT_NAME, MAX_BATCH_SIZE, OUTPUT_NAME

MODEL_FILE: Final = "model.onnx"
CONFIG_FILE: Final = "config.pbtxt"
_STAGING_PREFIX: Final = ".staging-"


class ModelRepository:
    """One model's folder in a repository that a model server reads.

    What the file system refuses is an InternalError that says what that is; an OSError would pass for a lost
    database in a transaction.
    """

    def __init__(self, root: Path, model: str) -> None:
        self._model = model
        self._folder = root / model

    def next_version(self, known: int) -> int:
        """Return a number above `known` and above every version that has a folder: none is used twice."""
        with _calling_by_name("read"):
            return max([known, *self._list_versions()]) + 1

    def read_model(self, version: int) -> bytes | None:
        """Return the model file of `version`, or None where it is gone."""
        return self._read(self._folder / str(version) / MODEL_FILE)

    def holds(self, version: int, model: bytes) -> bool:
        """Return whether the model file of `version` is there, and is `model`."""
        return self.read_model(version) == model

    def write_version(self, version: int, model: bytes) -> None:
        """Add the folder of `version`, and clear away what interrupted runs left."""
        with _calling_by_name("written"):
            self._folder.mkdir(parents=True, exist_ok=True)
            for left in self._folder.glob(f"{_STAGING_PREFIX}*"):
                shutil.rmtree(left, ignore_errors=True)
            staging = self._folder / f"{_STAGING_PREFIX}{version}"
            try:
                staging.mkdir()
                _write_durably(staging / MODEL_FILE, model)
                staging.rename(self._folder / str(version))
            except OSError:  # a disk that is full is not to stay so by what could not be used
                shutil.rmtree(staging, ignore_errors=True)
                raise

    def write_config(self, versions: Sequence[int]) -> None:
        """Make the server serve those of `versions` that have a folder, from its next load on."""
        with _calling_by_name("read"):
            present = sorted(set(versions) & set(self._list_versions()))
        self.restore_config(render_config(self._model, present).encode())

    def read_config(self) -> bytes | None:
        """Return config.pbtxt as it is, None where there is none."""
        return self._read(self._folder / CONFIG_FILE)

    def restore_config(self, content: bytes | None) -> None:
        """Put back what `read_config` returned."""
        with _calling_by_name("written"):
            if content is None:
                (self._folder / CONFIG_FILE).unlink(missing_ok=True)
                return
            staging = self._folder / f"{_STAGING_PREFIX}{CONFIG_FILE}"
            try:
                _write_durably(staging, content)
                staging.replace(self._folder / CONFIG_FILE)
            except OSError:
                with suppress(OSError):
                    staging.unlink()
                raise

    def has_version(self, version: int) -> bool:
        """Return whether the model file of `version` is there."""
        with _calling_by_name("read"):
            return (self._folder / str(version) / MODEL_FILE).is_file()

    def list_strays(self, known: Collection[int], before: datetime) -> list[int]:
        """Return the folders from before a moment whose number is none of `known`, and below the highest.

        An interrupted training leaves such; one above might be of a training under way, or have its number
        used again.
        """
        newest = max(known, default=0)
        with _calling_by_name("read"):
            return [
                version
                for version in self._list_versions()
                if version < newest
                and version not in known
                and (self._folder / str(version)).stat().st_mtime < before.timestamp()
            ]

    def remove_version(self, version: int) -> None:
        """Remove the folder of `version`, whole at once: it is renamed first."""
        folder = self._folder / str(version)
        with _calling_by_name("written"):
            if folder.is_dir():
                staging = self._folder / f"{_STAGING_PREFIX}removed-{version}"
                shutil.rmtree(staging, ignore_errors=True)
                folder.rename(staging)
                shutil.rmtree(staging, ignore_errors=True)

    def _read(self, path: Path) -> bytes | None:
        with _calling_by_name("read"):
            return path.read_bytes() if path.is_file() else None

    def _list_versions(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        return [int(entry.name) for entry in self._folder.iterdir() if entry.name.isdecimal()]


@contextmanager
def _calling_by_name(done: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = f": {error.strerror}" if error.strerror else ""
        raise InternalError(f"the model repository cannot be {done}{why}", reason="INTERNAL") from error


def render_config(model: str, versions: Sequence[int]) -> str:
    """Return the config.pbtxt that serves exactly `versions`."""
    return f"""\
name: "{model}"
backend: "onnxruntime"
max_batch_size: {MAX_BATCH_SIZE}
dynamic_batching {{ }}
input [ {{ name: "{INPUT_NAME}" data_type: TYPE_FP32 dims: [ {len(FEATURE_NAMES)} ] }} ]
output [ {{ name: "{OUTPUT_NAME}" data_type: TYPE_FP32 dims: [ 1 ] }} ]
version_policy: {{ specific: {{ versions: [ {", ".join(str(version) for version in versions)} ] }} }}
"""


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
