"""The methods of what offers must keep."""

from gen.campaigns.optimizer.v1 import offer_constraints_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceServicer
from services.optimizer.convert import offer_constraints as convert
from services.optimizer.operations.offer_constraints import OfferConstraintOperations
from services.optimizer.servicer.context import Context


class OfferConstraintMethods(OptimizerServiceServicer):
    """What offers must keep."""

    offer_constraints: OfferConstraintOperations

    async def SetOfferConstraints(
        self, request: pb.SetOfferConstraintsRequest, context: Context
    ) -> pb.SetOfferConstraintsResponse:
        """Keep limits of a campaign or a merchant."""
        wanted, etag = convert.kept_limits_from_proto(request), convert.etag_from_proto(request)
        kept = await self.offer_constraints.set_constraints(wanted, etag)
        return pb.SetOfferConstraintsResponse(constraints=convert.kept_limits_to_proto(kept))

    async def GetOfferConstraints(
        self, request: pb.GetOfferConstraintsRequest, context: Context
    ) -> pb.GetOfferConstraintsResponse:
        """Return the limits of a campaign or a merchant."""
        held = await self.offer_constraints.get_constraints(convert.scope_from_proto(request))
        return convert.held_limits_to_proto(held)
