"""What is watched, on its way to the wire."""

from gen.campaigns.analytics.v1 import analytics_service_pb2 as analytics_pb
from gen.campaigns.analytics.v1 import metrics_pb2
from services.analytics.convert.metrics import metrics_to_proto
from services.analytics.convert.portfolio import totals_to_proto
from services.analytics.domain.metrics import CampaignMetrics
from services.analytics.domain.portfolio import PortfolioTotals
from services.analytics.operations.watch_hub import Observed
from services.common.wire import datetime_to_timestamp


def campaign_to_proto(observed: Observed[CampaignMetrics]) -> analytics_pb.WatchCampaignResponse:
    """Return a campaign as it was read; CampaignMetrics and the unary answer have the same fields."""
    metrics = metrics_pb2.CampaignMetrics.FromString(metrics_to_proto(observed.value).SerializeToString())
    return analytics_pb.WatchCampaignResponse(metrics=metrics, as_of=datetime_to_timestamp(observed.read_at))


def portfolio_to_proto(observed: Observed[PortfolioTotals]) -> analytics_pb.WatchPortfolioResponse:
    """Return the current day's sums as they were read."""
    return analytics_pb.WatchPortfolioResponse(
        totals=totals_to_proto(observed.value), as_of=datetime_to_timestamp(observed.read_at)
    )
