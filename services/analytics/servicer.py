"""One method per RPC: from proto, operation, to proto. What is not here answers UNIMPLEMENTED."""

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc

from gen.campaigns.analytics.v1 import analytics_service_pb2 as analytics_pb
from gen.campaigns.analytics.v1 import catalog_service_pb2 as catalog_pb
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from gen.campaigns.analytics.v1.catalog_service_pb2_grpc import CatalogServiceServicer
from services.analytics.convert import catalog as convert_catalog
from services.analytics.convert import ingestion as convert_ingestion
from services.analytics.convert import metrics as convert_metrics
from services.analytics.operations.catalog import CatalogOperations
from services.analytics.operations.ingestion import IngestionOperations
from services.analytics.operations.metrics import MetricsOperations
from services.common.errors import ResourceExhaustedError
from services.common.paging import page_size

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # a string: it takes parameters in its stub only
MAXIMUM_STREAM_REJECTIONS = 50_000
"""Past this the answer to a stream would be too large to send."""


class AnalyticsServicer(AnalyticsServiceServicer):
    """campaigns.analytics.v1.AnalyticsService."""

    def __init__(self, *, ingestion: IngestionOperations, metrics: MetricsOperations) -> None:
        self._ingestion = ingestion
        self._metrics = metrics

    async def GetCampaignMetrics(
        self,
        request: analytics_pb.GetCampaignMetricsRequest,
        context: Context,
    ) -> analytics_pb.GetCampaignMetricsResponse:
        """Return what a campaign did."""
        metrics = await self._metrics.get_campaign_metrics(
            convert_metrics.campaign_id_from_proto(request.campaign_id),
            convert_metrics.day_from_proto(request.start_date, "start_date"),
            convert_metrics.day_from_proto(request.end_date, "end_date"),
        )
        return convert_metrics.metrics_to_proto(metrics)

    async def GetCampaignTrend(
        self,
        request: analytics_pb.GetCampaignTrendRequest,
        context: Context,
    ) -> analytics_pb.GetCampaignTrendResponse:
        """Return a campaign's counts by period."""
        trend = await self._metrics.get_campaign_trend(
            convert_metrics.campaign_id_from_proto(request.campaign_id),
            convert_metrics.interval_from_proto(request.interval),
            convert_metrics.day_from_proto(request.start_date, "start_date"),
            convert_metrics.day_from_proto(request.end_date, "end_date"),
        )
        return convert_metrics.trend_to_proto(trend)

    async def GetPortfolioPerformance(
        self,
        request: analytics_pb.GetPortfolioPerformanceRequest,
        context: Context,
    ) -> analytics_pb.GetPortfolioPerformanceResponse:
        """Return what all campaigns did together."""
        query = convert_metrics.portfolio_query_from_proto(request)
        return convert_metrics.portfolio_to_proto(await self._metrics.get_portfolio_performance(query))

    async def IngestEvents(
        self,
        request: analytics_pb.IngestEventsRequest,
        context: Context,
    ) -> analytics_pb.IngestEventsResponse:
        """Take in a batch of events."""
        self._ingestion.check_size(len(request.events))
        events = convert_ingestion.events_from_proto(request.events)
        return convert_ingestion.result_to_proto(await self._ingestion.ingest(events))

    async def IngestEventStream(
        self,
        request_iterator: AsyncIterator[analytics_pb.IngestEventStreamRequest],
        context: Context,
    ) -> analytics_pb.IngestEventStreamResponse:
        """Take in events message by message; the next is read when the one before is durable."""
        answer = analytics_pb.IngestEventStreamResponse()
        offset = 0
        async for request in request_iterator:
            if request.events:
                self._ingestion.check_size(len(request.events))
                result = await self._ingestion.ingest(convert_ingestion.events_from_proto(request.events))
                answer.accepted_count += result.accepted
                answer.duplicate_count += result.duplicates
                rejections = convert_ingestion.rejections_to_proto(result.rejections, offset=offset)
                answer.rejections.extend(rejections)
                offset += len(request.events)
            if len(answer.rejections) > MAXIMUM_STREAM_REJECTIONS:
                raise ResourceExhaustedError(
                    f"more than {MAXIMUM_STREAM_REJECTIONS} events of this stream were rejected; what was "
                    "accepted stays",
                    reason="BATCH_TOO_LARGE",
                )
        return answer

    async def WatchCampaign(
        self,
        request: analytics_pb.WatchCampaignRequest,
        context: Context,
    ) -> AsyncIterator[analytics_pb.WatchCampaignResponse]:
        """Not offered yet."""
        raise NotImplementedError
        yield

    async def WatchPortfolio(
        self,
        request: analytics_pb.WatchPortfolioRequest,
        context: Context,
    ) -> AsyncIterator[analytics_pb.WatchPortfolioResponse]:
        """Not offered yet."""
        raise NotImplementedError
        yield


class CatalogServicer(CatalogServiceServicer):
    """campaigns.analytics.v1.CatalogService."""

    def __init__(self, catalog: CatalogOperations) -> None:
        self._catalog = catalog

    async def UpsertCampaigns(
        self,
        request: catalog_pb.UpsertCampaignsRequest,
        context: Context,
    ) -> catalog_pb.UpsertCampaignsResponse:
        """Keep campaigns."""
        campaigns = convert_catalog.campaigns_from_proto(request)
        await self._catalog.upsert_campaigns(campaigns)
        return catalog_pb.UpsertCampaignsResponse(upserted_count=len(campaigns))

    async def ListCampaigns(
        self,
        request: catalog_pb.ListCampaignsRequest,
        context: Context,
    ) -> catalog_pb.ListCampaignsResponse:
        """List campaigns."""
        after = convert_catalog.text_cursor_from_proto(request.page_token, "campaign_id")
        campaigns, more = await self._catalog.list_campaigns(after=after, size=page_size(request.page_size))
        return convert_catalog.campaigns_to_proto(campaigns, has_more=more)

    async def UpsertMerchants(
        self,
        request: catalog_pb.UpsertMerchantsRequest,
        context: Context,
    ) -> catalog_pb.UpsertMerchantsResponse:
        """Keep merchants."""
        merchants = convert_catalog.merchants_from_proto(request)
        await self._catalog.upsert_merchants(merchants)
        return catalog_pb.UpsertMerchantsResponse(upserted_count=len(merchants))

    async def ListMerchants(
        self,
        request: catalog_pb.ListMerchantsRequest,
        context: Context,
    ) -> catalog_pb.ListMerchantsResponse:
        """List merchants."""
        after = convert_catalog.number_cursor_from_proto(request.page_token, "merchant_id")
        merchants, more = await self._catalog.list_merchants(after=after, size=page_size(request.page_size))
        return convert_catalog.merchants_to_proto(merchants, has_more=more)

    async def UpsertUsers(
        self,
        request: catalog_pb.UpsertUsersRequest,
        context: Context,
    ) -> catalog_pb.UpsertUsersResponse:
        """Keep users."""
        users = convert_catalog.users_from_proto(request)
        await self._catalog.upsert_users(users)
        return catalog_pb.UpsertUsersResponse(upserted_count=len(users))

    async def ListUsers(
        self,
        request: catalog_pb.ListUsersRequest,
        context: Context,
    ) -> catalog_pb.ListUsersResponse:
        """List users."""
        after = convert_catalog.text_cursor_from_proto(request.page_token, "user_id")
        users, more = await self._catalog.list_users(after=after, size=page_size(request.page_size))
        return convert_catalog.users_to_proto(users, has_more=more)
