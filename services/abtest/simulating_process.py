"""Simulates in a process of its own, so that the serving one keeps its latency."""

from dataclasses import dataclass

from services.abtest.domain.simulation import SimulationDesign
from services.abtest.domain.simulation_summary import SimulationSummary
from services.abtest.simulating.codec import design_to_json, summary_from_json
from services.common.child_process import ChildProcess


@dataclass(frozen=True, kw_only=True)
class SimulatingProcess:
    """How to simulate: for how long at most."""

    timeout_seconds: float

    async def run(self, design: SimulationDesign) -> SimulationSummary:
        """Return what simulated tests of a design show; cancelling and errors are as `ChildProcess.run`'s."""
        process = ChildProcess(
            module="services.abtest.simulating",
            subject="the simulation",
            timeout_seconds=self.timeout_seconds,
            timeout_reason="SIMULATION_TOO_LARGE",
            remedy="ask for fewer simulations, looks or planned looks",
        )
        return summary_from_json(await process.run(told=design_to_json(design)))
