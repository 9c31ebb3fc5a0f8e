"""Check the protos with buf, on descriptors compiled here: the google protos come from installed packages.

python -m tools.check_protos             lint, then what would break callers of the last release
python -m tools.check_protos lint        only lint
python -m tools.check_protos breaking    only compare with the last release; says so where there is none
"""

import argparse
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from tools.generate import PROTOS, ROOT, tool_script, write_descriptor_set

_RELEASES = "v[0-9]*"


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.check_protos", description=__doc__.split("\n")[0])
    parser.add_argument("check", nargs="?", choices=["lint", "breaking"], help="default: both")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        current = Path(folder) / "current.binpb"
        write_descriptor_set(current, PROTOS)
        statuses = []
        if options.check != "breaking":
            statuses.append(lint(current))
        if options.check != "lint":
            statuses.append(compare_with_release(current, Path(folder)))
    return max(statuses)


def lint(image: Path) -> int:
    """Run buf's lint rules over a descriptor set; return its exit status."""
    return _buf("lint", str(image))


def compare_with_release(image: Path, folder: Path) -> int:
    """Run buf's rules on breaking changes against the last release; 0 where there is none to compare with."""
    tag = last_release()
    if tag is None:
        print("check_protos: breaking changes not checked: no release tag is known here", file=sys.stderr)
        return 0
    archive = subprocess.run(
        ["git", "archive", "--format=tar", tag, "protos"], cwd=ROOT, check=True, capture_output=True
    )
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    released = folder / "released.binpb"
    write_descriptor_set(released, folder / "protos")
    return breaking(image, released)


def breaking(image: Path, against: Path) -> int:
    """Run buf's rules on breaking changes between two descriptor sets; return its exit status."""
    return _buf("breaking", str(image), "--against", str(against))


def last_release() -> str | None:
    """Return the newest release tag that HEAD descends from and that has protos; None without one."""
    described = subprocess.run(
        ["git", "describe", "--tags", "--abbrev=0", "--match", _RELEASES],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    return described.stdout.strip() or None


def _buf(*arguments: str) -> int:
    command = [str(tool_script("buf")), *arguments, "--config", str(PROTOS / "buf.yaml")]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
