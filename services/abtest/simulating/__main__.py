"""`python -m services.abtest.simulating`: simulate one design for the serving process (simulating_process).

Reads a design as one line of JSON from standard input and writes what simulated tests show as one line to
standard output. It ends when its standard input closes, so that it never outlives whoever started it.
"""

import os
import sys
import threading
import traceback

from services.abtest.domain.simulation import simulate
from services.abtest.domain.simulation_summary import summarize
from services.abtest.simulating.codec import design_from_json, summary_to_json

_NICENESS = 10


def main() -> int:
    """Simulate; returns 0, or 1 after a failure."""
    os.nice(_NICENESS)  # requests go first
    line = sys.stdin.readline()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        answer = summary_to_json(summarize(simulate(design_from_json(line))))
    except Exception:  # noqa: BLE001 (the process boundary: the parent is told by the exit status)
        traceback.print_exc()
        return 1
    sys.stdout.buffer.write(answer + b"\n")
    sys.stdout.buffer.flush()
    return 0


def _end_with_parent() -> None:
    """Wait for the end of standard input, which comes with the end of the parent, and end."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(4)


if __name__ == "__main__":
    sys.exit(main())
