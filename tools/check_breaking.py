"""Compare the protos with those of the last release: what would break its callers is an error.

python -m tools.check_breaking    exit 1 and name every breaking change; say so where there is no release
"""

import subprocess
import sys
from pathlib import Path

from tools.generate import PROTOS, ROOT, tool_script

_RELEASES = "v[0-9]*"


def main() -> int:
    """Compare with the last release; return buf's exit status, 0 where there is nothing to compare with."""
    tag = last_release(ROOT)
    if tag is None:
        print(f"check_breaking: skipped: {why_no_release(ROOT)}", file=sys.stderr)
        return 0
    return run_buf_breaking(PROTOS, against=f"{ROOT / '.git'}#tag={tag},subdir=protos")


def run_buf_breaking(protos: Path, *, against: str) -> int:
    """Run buf's rules between two states of the protos; return its exit status."""
    command = [str(tool_script("buf")), "breaking", str(protos), "--against", against]
    return subprocess.run(command, check=False).returncode


def last_release(repository: Path) -> str | None:
    """Return the newest release tag that HEAD descends from; None where none is known here."""
    return _git(repository, "describe", "--tags", "--abbrev=0", "--match", _RELEASES) or None


def why_no_release(repository: Path) -> str:
    """Return why `last_release` knows none, for a person."""
    if _git(repository, "rev-parse", "--is-shallow-repository") == "true":
        return "this clone is shallow and has no release tag"
    return "nothing was released yet"


def _git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    raise SystemExit(main())
