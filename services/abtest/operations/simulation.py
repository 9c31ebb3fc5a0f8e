"""Simulations of designs: a few at a time, the rest are refused."""

from collections.abc import Awaitable, Callable

from services.abtest.domain.model import DecisionMethod
from services.abtest.domain.simulation import SimulationDesign
from services.abtest.domain.simulation_summary import SimulationSummary
from services.common.errors import ResourceExhaustedError
from services.common.waiting_room import WaitingRoom

MOST_CELLS = 20_000_000
"""Simulations x looks x groups: what memory and time bear."""
MOST_PLANNED_LOOKS = 100_000
"""Simulations x planned looks of a group-sequential test, whose boundaries are integrated one by one."""
MOST_CONVERSIONS = 100_000_000
"""Expected conversions of all simulations, where each has its own revenue."""


class SimulationOperations:
    """Simulates designs.

    Args:
        run: simulates one design, beside this process.
        at_once: how many may run at the same time.
        waiting: how many more may wait for them.
    """

    def __init__(
        self,
        run: Callable[[SimulationDesign], Awaitable[SimulationSummary]],
        *,
        at_once: int,
        waiting: int,
    ) -> None:
        self._run = run
        self._room = WaitingRoom("simulations", at_once=at_once, waiting=waiting)

    async def simulate(self, design: SimulationDesign) -> SimulationSummary:
        """Return what simulated tests of a design show.

        Raises:
            ResourceExhaustedError: the design is too large, or too many simulations wait.
            DeadlineExceededError: it took too long.
        """
        require_bounded(design)
        async with self._room.turn():
            return await self._run(design)


def require_bounded(design: SimulationDesign) -> None:
    """Raise ResourceExhaustedError where a design is too large to simulate at once."""
    test = design.test
    cells = design.simulations * design.looks * len(design.weights)
    limits = [("simulations x looks x groups", cells, MOST_CELLS)]
    if test.decision_method is DecisionMethod.GROUP_SEQUENTIAL:
        limits.append(
            ("simulations x planned_looks", design.simulations * test.planned_looks, MOST_PLANNED_LOOKS)
        )
    if design.revenue is not None:
        conversions = round(design.simulations * design.look_users[-1] * max(design.rates))
        limits.append(("the conversions of all simulations", conversions, MOST_CONVERSIONS))
    for name, size, limit in limits:
        if size > limit:
            raise ResourceExhaustedError(
                f"{name} are {size}, more than {limit}; ask for fewer",
                reason="SIMULATION_TOO_LARGE",
                metadata={"size": str(size), "limit": str(limit)},
            )
