"""AnalyticsService as a whole: its methods by subject. What is in none of them answers UNIMPLEMENTED."""

from services.analytics.operations.attribution import AttributionOperations
from services.analytics.operations.channels import ChannelOperations
from services.analytics.operations.cohorts import CohortOperations
from services.analytics.operations.comparison import ComparisonOperations
from services.analytics.operations.costs import CostOperations
from services.analytics.operations.forecasts import ForecastOperations
from services.analytics.operations.ingestion import IngestionOperations
from services.analytics.operations.live import LiveOperations
from services.analytics.operations.merchants import MerchantOperations
from services.analytics.operations.metrics import MetricsOperations
from services.analytics.operations.portfolio import PortfolioOperations
from services.analytics.operations.ranking import RankingOperations
from services.analytics.operations.rfm import RfmOperations
from services.analytics.operations.segments import SegmentOperations
from services.analytics.operations.trends import TrendOperations
from services.analytics.servicer.attribution import AttributionMethods
from services.analytics.servicer.channels import ChannelMethods
from services.analytics.servicer.cohorts import CohortMethods
from services.analytics.servicer.comparison import ComparisonMethods
from services.analytics.servicer.costs import CostMethods
from services.analytics.servicer.forecasts import ForecastMethods
from services.analytics.servicer.ingestion import IngestionMethods
from services.analytics.servicer.live import LiveMethods
from services.analytics.servicer.merchants import MerchantMethods
from services.analytics.servicer.metrics import MetricsMethods
from services.analytics.servicer.portfolio import PortfolioMethods
from services.analytics.servicer.ranking import RankingMethods
from services.analytics.servicer.rfm import RfmMethods
from services.analytics.servicer.segments import SegmentMethods
from services.analytics.servicer.trends import TrendMethods

KEPT_METHODS = (
    "CompareCampaigns",
    "GetAttribution",
    "GetCampaignChannels",
    "GetCampaignForecast",
    "GetCampaignMetrics",
    "GetCampaignRoi",
    "GetCampaignSegments",
    "GetCampaignTrend",
    "GetCohortPerformance",
    "GetMerchantPerformance",
    "GetPortfolioAttribution",
    "GetPortfolioForecast",
    "GetPortfolioPerformance",
    "ListCohorts",
    "ListCosts",
    "ListRfmSegments",
    "ListTopCampaigns",
)
"""The reads, whose answers are kept while the data stand still."""


class AnalyticsServicer(
    AttributionMethods,
    ChannelMethods,
    CohortMethods,
    ComparisonMethods,
    CostMethods,
    ForecastMethods,
    IngestionMethods,
    LiveMethods,
    MerchantMethods,
    MetricsMethods,
    PortfolioMethods,
    RankingMethods,
    RfmMethods,
    SegmentMethods,
    TrendMethods,
):
    """campaigns.analytics.v1.AnalyticsService."""

    def __init__(
        self,
        *,
        attribution: AttributionOperations,
        channels: ChannelOperations,
        cohorts: CohortOperations,
        comparison: ComparisonOperations,
        costs: CostOperations,
        forecasts: ForecastOperations,
        ingestion: IngestionOperations,
        live: LiveOperations,
        merchants: MerchantOperations,
        metrics: MetricsOperations,
        portfolio: PortfolioOperations,
        ranking: RankingOperations,
        rfm: RfmOperations,
        segments: SegmentOperations,
        trends: TrendOperations,
    ) -> None:
        self.attribution = attribution
        self.channels = channels
        self.cohorts = cohorts
        self.comparison = comparison
        self.costs = costs
        self.forecasts = forecasts
        self.ingestion = ingestion
        self.live = live
        self.merchants = merchants
        self.metrics = metrics
        self.portfolio = portfolio
        self.ranking = ranking
        self.rfm = rfm
        self.segments = segments
        self.trends = trends
