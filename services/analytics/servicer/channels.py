"""The method that says what a campaign did by delivery channel."""

from gen.campaigns.analytics.v1 import analytics_service_pb2 as analytics_pb
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from services.analytics.convert import channels as convert_channels
from services.analytics.convert import metrics as convert_metrics
from services.analytics.operations.channels import ChannelOperations
from services.analytics.servicer.context import Context


class ChannelMethods(AnalyticsServiceServicer):
    """Campaigns by channel."""

    channels: ChannelOperations

    async def GetCampaignChannels(
        self,
        request: analytics_pb.GetCampaignChannelsRequest,
        context: Context,
    ) -> analytics_pb.GetCampaignChannelsResponse:
        """Return what a campaign did by channel."""
        answer = await self.channels.get_campaign_channels(
            convert_metrics.campaign_id_from_proto(request.campaign_id),
            convert_metrics.day_from_proto(request.start_date, "start_date"),
            convert_metrics.day_from_proto(request.end_date, "end_date"),
        )
        return convert_channels.channels_to_proto(answer)
