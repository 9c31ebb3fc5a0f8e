"""Whether the world that a system holds is the one that it is about to be compared with."""

from collections.abc import Sequence

from examples.simulated_world.messages import campaign_messages
from examples.simulated_world.world import World
from gen.campaigns.analytics.v1.catalog_service_pb2 import Campaign, ListCampaignsRequest
from gen.campaigns.analytics.v1.catalog_service_pb2_grpc import CatalogServiceStub

_PAGE = 1000


class AnotherWorldError(Exception):
    """The system holds another world, or none; the message says which campaign tells them apart."""


async def require_world(catalog: CatalogServiceStub, world: World) -> None:
    """Raise AnotherWorldError where the catalog lacks a campaign of the world, or has another by its id."""
    held: list[Campaign] = []
    token = ""
    while True:
        page = await catalog.ListCampaigns(ListCampaignsRequest(page_size=_PAGE, page_token=token))
        held += page.campaigns
        token = page.next_page_token
        if not token:
            break
    if difference := tell_apart(held, world):
        raise AnotherWorldError(
            f"the system does not hold the world of seed {world.seed} that ends {world.dates[-1]}:"
            f" {difference}; give --seed and --end-date as they were when it was loaded"
        )


def tell_apart(held: Sequence[Campaign], world: World) -> str:
    """Return what tells the campaigns held from those of the world, empty for nothing.

    Offers and margins are not compared: whoever follows advice changes them.
    """
    by_id = {campaign.campaign_id: campaign for campaign in held}
    for expected in campaign_messages(world):
        found = by_id.get(expected.campaign_id)
        if found is None:
            return f"it has no campaign {expected.campaign_id}"
        if _identity(found) != _identity(expected):
            return (
                f"campaign {expected.campaign_id} there is {_describe(found)}, and in that world"
                f" {_describe(expected)}"
            )
    return ""


def _identity(campaign: Campaign) -> tuple[object, ...]:
    return (
        campaign.campaign_name,
        campaign.campaign_type,
        campaign.merchant_id,
        campaign.start_time.seconds,
    )


def _describe(campaign: Campaign) -> str:
    return f"{campaign.campaign_name!r} from {campaign.start_time.ToDatetime():%Y-%m-%d}"
