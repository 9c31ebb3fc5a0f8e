"""The method of simulations."""

from gen.campaigns.abtest.v1 import simulation_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceServicer
from services.abtest.convert import simulation as convert
from services.abtest.operations.simulation import SimulationOperations
from services.abtest.servicer.context import Context


class SimulationMethods(ABTestServiceServicer):
    """What designs do, before a user is risked."""

    simulation: SimulationOperations

    async def SimulateTest(
        self, request: pb.SimulateTestRequest, context: Context
    ) -> pb.SimulateTestResponse:
        """Return what simulated tests of a design show."""
        design = convert.simulation_from_proto(request)
        return convert.simulation_to_proto(await self.simulation.simulate(design))
