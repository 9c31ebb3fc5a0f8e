"""The methods of CatalogService: from proto, operation, to proto."""

from gen.campaigns.analytics.v1 import catalog_service_pb2 as catalog_pb
from gen.campaigns.analytics.v1.catalog_service_pb2_grpc import CatalogServiceServicer
from services.analytics.convert import catalog as convert_catalog
from services.analytics.operations.catalog import CatalogOperations
from services.analytics.servicer.context import Context
from services.common.paging import page_size


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
