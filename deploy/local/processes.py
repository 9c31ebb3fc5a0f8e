"""What other processes are, read from /proc. Only the standard library, like `lock`, which uses it."""

from pathlib import Path

_LONGEST_NAME = 60
_RUN_MODULE = "deploy.local"


def command_name(process: int) -> str:
    """Return the program and first arguments of a process, cut to a readable length."""
    arguments = _arguments(process)
    if not arguments:
        return "ended meanwhile"
    words = [Path(arguments[0]).name, *(word for word in arguments[1:4] if word)]
    name = " ".join(" ".join(words).split())
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."


def run_of(process: int) -> int | None:
    """Return the run (`python -m deploy.local`) that `process` is or belongs to; None if it is of no run."""
    seen: set[int] = set()
    candidate: int | None = process
    while candidate and candidate not in seen:
        seen.add(candidate)
        arguments = _arguments(candidate)
        if "-m" in arguments and _RUN_MODULE in arguments[arguments.index("-m") + 1 :][:1]:
            return candidate
        candidate = _parent(candidate)
    return None


def _arguments(process: int) -> list[str]:
    try:
        content = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return []
    return content.decode(errors="replace").rstrip("\0").split("\0") if content else []


def _parent(process: int) -> int | None:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None
