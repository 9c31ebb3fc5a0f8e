"""The methods of training."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from gen.campaigns.optimizer.v1 import training_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceServicer
from services.optimizer.convert import training as convert
from services.optimizer.operations.training import TrainingOperations
from services.optimizer.servicer.context import Context


class TrainingMethods(OptimizerServiceServicer):
    """Training, awaited or followed; its record."""

    training: TrainingOperations

    async def TrainModel(self, request: pb.TrainModelRequest, context: Context) -> pb.TrainModelResponse:
        """Train, and answer when the version is live or rejected."""
        result = await self.training.train(convert.order_from_proto(request), lambda _: None)
        return convert.result_to_proto(result)

    async def TrainModelWithProgress(
        self, request: pb.TrainModelWithProgressRequest, context: Context
    ) -> AsyncIterator[pb.TrainModelWithProgressResponse]:
        """Train, and say how far it is."""
        events = self.training.stream_training(convert.order_from_proto(request))
        async with aclosing(events):
            async for event in events:
                yield convert.training_event_to_proto(event)

    async def CancelTraining(
        self, request: pb.CancelTrainingRequest, context: Context
    ) -> pb.CancelTrainingResponse:
        """Stop a training."""
        note = convert.note_from_proto(request)
        training = await self.training.cancel(convert.training_id_from_proto(request), note)
        return pb.CancelTrainingResponse(training=convert.training_to_proto(training, self.training.now()))

    async def ListTrainings(
        self, request: pb.ListTrainingsRequest, context: Context
    ) -> pb.ListTrainingsResponse:
        """Return a page of trainings."""
        limit = convert.trainings_limit_from_proto(request)
        before, before_id = convert.trainings_start_from_proto(request)
        trainings = await self.training.list_trainings(before, before_id, limit)
        return convert.trainings_to_proto(trainings, limit, self.training.now())
