"""What a process does that `job_process.py` runs: its work, in the words that the parent understands."""

import asyncio
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

from services.common.errors import DomainError

_NICENESS = 10
_REFUSED = 3
_ORPHANED = 4


def run_child(work: Callable[[], Coroutine[Any, Any, str]], *, keep_on: bool) -> int:
    """Do the work and say what came of it; returns 0 when it is done, 1 after a failure, 3 after a refusal.

    Unless it is to keep on, the process ends when its standard input closes.
    """
    os.nice(_NICENESS)  # requests go first
    if not keep_on:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        summary = asyncio.run(work())
    except DomainError as error:
        refused = {
            "code": error.code,
            "reason": error.reason,
            "message": error.message,
            "metadata": error.metadata,
        }
        say({"refused": refused})
        return _REFUSED
    except Exception:  # noqa: BLE001 (the process boundary: the parent is told by the exit status)
        traceback.print_exc()
        return 1
    say({"summary": summary})
    return 0


def say(message: dict[str, Any]) -> None:
    """Write a line of JSON for the parent."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    """Wait for the end of standard input, which comes with the end of the parent, and end."""
    while os.read(sys.stdin.fileno(), 1):  # not buffered: a buffer's lock would outlive the interpreter
        pass
    os._exit(_ORPHANED)
