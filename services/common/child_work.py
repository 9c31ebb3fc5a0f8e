"""What a process does that `child_process.py` runs: its work, in the words that the parent understands."""

import asyncio
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, Final, TextIO

from services.common.errors import DomainError, error_to_json

FOLLOW_PARENT: Final = "CHILD_FOLLOWS_PARENT"
"""The environment variable by which `ChildProcess` asks a process to end with it."""
NICENESS = 10
_REFUSED = 3
_ORPHANED = 4
_STDOUT, _STDERR = 1, 2
_kept_output: TextIO | None = None


def run_child(
    work: Callable[[], Coroutine[Any, Any, object]],
    *,
    niceness: int = NICENESS,
    only_idle: bool = False,
) -> int:
    """Do the work and say its result, which JSON must hold; requests go first.

    Where `ChildProcess` started it, it ends when standard input closes, with what it has started itself; and
    what is printed beside goes to standard error, because the parent would not understand it. By hand it just
    runs.

    Args:
        work: what to do.
        niceness: how much other processes go before.
        only_idle: never wait for this process's turn (where Linux can).

    Returns:
        0 when it is done, 1 after a failure, 3 after a refusal.
    """
    _yield_to_requests(niceness, only_idle=only_idle)
    if os.environ.pop(FOLLOW_PARENT, ""):  # not for what it starts itself
        _keep_output()
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        result = asyncio.run(work())
    except DomainError as error:
        _say({"refused": error_to_json(error)})
        return _REFUSED
    except Exception:  # noqa: BLE001 (the process boundary: the parent is told by the exit status)
        traceback.print_exc()
        return 1
    _say({"result": result})
    return 0


def say_progress(stage: str, fraction: float) -> None:
    """Tell the parent how far the work is."""
    _say({"stage": stage, "fraction": round(fraction, 3)})


def _say(message: dict[str, Any]) -> None:
    output = _kept_output or sys.stdout
    output.write(json.dumps(message) + "\n")
    output.flush()


def _keep_output() -> None:
    """Keep standard output for what the parent is told; what else is written there goes to standard error."""
    global _kept_output  # noqa: PLW0603 (as the process's standard output is)
    _kept_output = os.fdopen(os.dup(_STDOUT), "w", encoding="utf-8")
    os.dup2(_STDERR, _STDOUT)


def _yield_to_requests(niceness: int, *, only_idle: bool) -> None:
    os.nice(niceness)
    if only_idle and hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _end_with_parent() -> None:
    """Wait for the end of standard input, which comes with the end of the parent, and end.

    With it ends what it has started, where it leads a session, as under `ChildProcess` it does.
    """
    while os.read(sys.stdin.fileno(), 1):  # not buffered: a buffer's lock would outlive the interpreter
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(_ORPHANED)
