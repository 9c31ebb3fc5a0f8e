"""AnalyticsService as a whole: its methods by subject. What is in none of them answers UNIMPLEMENTED."""

from services.analytics.operations.ingestion import IngestionOperations
from services.analytics.operations.live import LiveOperations
from services.analytics.operations.metrics import MetricsOperations
from services.analytics.operations.portfolio import PortfolioOperations
from services.analytics.operations.trends import TrendOperations
from services.analytics.servicer.ingestion import IngestionMethods
from services.analytics.servicer.live import LiveMethods
from services.analytics.servicer.metrics import MetricsMethods
from services.analytics.servicer.portfolio import PortfolioMethods
from services.analytics.servicer.trends import TrendMethods


class AnalyticsServicer(IngestionMethods, LiveMethods, MetricsMethods, PortfolioMethods, TrendMethods):
    """campaigns.analytics.v1.AnalyticsService."""

    def __init__(
        self,
        *,
        ingestion: IngestionOperations,
        live: LiveOperations,
        metrics: MetricsOperations,
        portfolio: PortfolioOperations,
        trends: TrendOperations,
    ) -> None:
        self.ingestion = ingestion
        self.live = live
        self.metrics = metrics
        self.portfolio = portfolio
        self.trends = trends
