"""OptimizerService: each method from the wire to an operation and back.

Methods that are not here answer UNIMPLEMENTED.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc

from gen.campaigns.optimizer.v1 import optimizer_service_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceServicer
from services.optimizer import convert
from services.optimizer.operations import Operations

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # a string: it takes parameters in its stub only


class OptimizerServicer(OptimizerServiceServicer):
    """Answers `campaigns.optimizer.v1.OptimizerService`."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def TrainModel(self, request: pb.TrainModelRequest, context: Context) -> pb.TrainModelResponse:
        """Train, and answer when the version is live or rejected."""
        model = await self._operations.train(convert.as_of_from_proto(request), lambda _: None)
        return convert.model_to_proto(model)

    async def TrainModelWithProgress(
        self, request: pb.TrainModelWithProgressRequest, context: Context
    ) -> AsyncIterator[pb.TrainModelWithProgressResponse]:
        """Train, and say how far it is."""
        events = self._operations.stream_training(convert.as_of_from_proto(request))
        async with aclosing(events):
            async for event in events:
                yield convert.training_event_to_proto(event)

    async def OptimizeOffer(
        self, request: pb.OptimizeOfferRequest, context: Context
    ) -> pb.OptimizeOfferResponse:
        """Recommend the offer of a campaign, or of one that is only planned."""
        objective = convert.objective_from_proto(request)
        campaign_id = convert.campaign_id_from_proto(request)
        if campaign_id is not None:
            answer = await self._operations.optimize_offer(campaign_id, objective)
        else:
            planned = convert.planned_from_proto(request)
            answer = await self._operations.optimize_planned_offer(planned, objective)
        return convert.answer_to_proto(answer, request.campaign_id)
