"""The methods of training."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from gen.campaigns.optimizer.v1 import training_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceServicer
from services.optimizer.convert import training as convert
from services.optimizer.operations.training import TrainingOperations
from services.optimizer.servicer.context import Context


class TrainingMethods(OptimizerServiceServicer):
    """Training, awaited or followed."""

    training: TrainingOperations

    async def TrainModel(self, request: pb.TrainModelRequest, context: Context) -> pb.TrainModelResponse:
        """Train, and answer when the version is live or rejected."""
        model = await self.training.train(convert.as_of_from_proto(request), lambda _: None)
        return convert.model_to_proto(model)

    async def TrainModelWithProgress(
        self, request: pb.TrainModelWithProgressRequest, context: Context
    ) -> AsyncIterator[pb.TrainModelWithProgressResponse]:
        """Train, and say how far it is."""
        events = self.training.stream_training(convert.as_of_from_proto(request))
        async with aclosing(events):
            async for event in events:
                yield convert.training_event_to_proto(event)
