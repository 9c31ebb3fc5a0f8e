"""The method of send times."""

from gen.campaigns.optimizer.v1 import send_time_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceServicer
from services.optimizer.convert import send_times as convert
from services.optimizer.operations.send_times import SendTimeOperations
from services.optimizer.servicer.context import Context


class SendTimeMethods(OptimizerServiceServicer):
    """When to send to a user."""

    send_times: SendTimeOperations

    async def OptimizeSendTime(
        self, request: pb.OptimizeSendTimeRequest, context: Context
    ) -> pb.OptimizeSendTimeResponse:
        """Recommend when to send to a user."""
        answer = await self.send_times.optimize(
            convert.user_id_from_proto(request),
            convert.campaign_type_from_proto(request),
            convert.quiet_hours_from_proto(request),
        )
        return convert.answer_to_proto(answer)
