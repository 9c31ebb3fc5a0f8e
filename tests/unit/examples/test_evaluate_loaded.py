"""A system that holds another world than the truth is of is told from one that holds it."""

from datetime import date

import grpc
import pytest

from examples.simulated_world.evaluate.loaded import AnotherWorldError, require_world, tell_apart
from examples.simulated_world.messages import campaign_messages
from examples.simulated_world.world import World
from gen.campaigns.analytics.v1.catalog_service_pb2 import (
    Campaign,
    ListCampaignsRequest,
    ListCampaignsResponse,
)
from gen.campaigns.analytics.v1.catalog_service_pb2_grpc import (
    CatalogServiceServicer,
    CatalogServiceStub,
    add_CatalogServiceServicer_to_server,
)

END = date(2026, 11, 21)


class Catalog(CatalogServiceServicer):
    """Tells campaigns in two pages."""

    def __init__(self, campaigns: list[Campaign]) -> None:
        self._campaigns = campaigns

    async def ListCampaigns(self, request: ListCampaignsRequest, context: object) -> ListCampaignsResponse:
        if request.page_token:
            return ListCampaignsResponse(campaigns=self._campaigns[100:])
        return ListCampaignsResponse(campaigns=self._campaigns[:100], next_page_token="more")


@pytest.fixture(scope="module")
def world() -> World:
    return World.build(seed=1, end_date=END)


def test_advice_that_was_followed_makes_no_other_world(world: World) -> None:
    held = campaign_messages(world)
    for campaign in held:
        campaign.offer_amount += 1.0
    assert tell_apart(held, world) == ""


def test_another_seed_and_another_day_are_told_apart(world: World) -> None:
    held = campaign_messages(world)
    assert "campaign c001 there is" in tell_apart(held, World.build(seed=2, end_date=END))
    assert "campaign c001 there is" in tell_apart(held, World.build(seed=1, end_date=date(2026, 11, 22)))
    assert tell_apart(held[1:], world) == "it has no campaign c001"


async def test_the_whole_catalog_is_compared(world: World) -> None:
    server = grpc.aio.server()
    add_CatalogServiceServicer_to_server(Catalog(campaign_messages(world)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            catalog = CatalogServiceStub(channel)
            await require_world(catalog, world)
            with pytest.raises(AnotherWorldError, match="of seed 2 that ends 2026-11-21: campaign c001"):
                await require_world(catalog, World.build(seed=2, end_date=END))
    finally:
        await server.stop(None)
