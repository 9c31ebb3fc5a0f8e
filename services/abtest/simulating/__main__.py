"""`python -m services.abtest.simulating`: simulate one design for the serving process (simulating_process).

Reads a design as one line of JSON from standard input; its result is what simulated tests show.
"""

import sys
from typing import Any

from services.abtest.domain.simulation import simulate
from services.abtest.domain.simulation_summary import summarize
from services.abtest.simulating.codec import design_from_json, summary_to_json
from services.common.child_work import run_child


def main() -> int:
    """Simulate; returns 0, or 1 after a failure."""
    line = sys.stdin.readline()

    async def work() -> dict[str, Any]:
        return summary_to_json(summarize(simulate(design_from_json(line))))

    return run_child(work)


if __name__ == "__main__":
    sys.exit(main())
