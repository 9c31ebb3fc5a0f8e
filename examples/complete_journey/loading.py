"""Sends the Complete Journey data to a gateway through the public RPCs."""

from dataclasses import dataclass
from itertools import chain
from typing import Self

import numpy as np
from numpy.typing import NDArray

from examples.complete_journey import mapping
from examples.complete_journey.mapping import MerchantKind
from examples.complete_journey.source import Campaigns, Deliveries, Lines, Redemptions, Source
from examples.ingestion import Ingestion, Totals
from gen.campaigns.analytics.v1.catalog_service_pb2 import Merchant, User


@dataclass(frozen=True, kw_only=True)
class Journey:
    """The whole data in memory, and how its lines name their merchant."""

    campaigns: Campaigns
    deliveries: Deliveries
    redemptions: Redemptions
    lines: Lines
    line_merchants: NDArray[np.int64]
    merchants: list[Merchant]
    users: list[User]

    @classmethod
    def read(cls, source: Source, *, merchant: MerchantKind = "store") -> Self:
        """Read the data; raises SourceError where a table is missing."""
        deliveries, redemptions, lines = source.deliveries(), source.redemptions(), source.lines()
        products = source.products() if merchant == "manufacturer" else None
        households = chain(
            np.unique(lines.household_id).tolist(), deliveries.household_id, redemptions.household_id
        )
        return cls(
            campaigns=source.campaigns(),
            deliveries=deliveries,
            redemptions=redemptions,
            lines=lines,
            line_merchants=mapping.line_merchants(lines, products),
            merchants=list(
                mapping.store_messages(lines) if products is None else mapping.manufacturer_messages(products)
            ),
            users=list(mapping.user_messages(households, source.demographics())),
        )


async def load_catalog(journey: Journey, ingestion: Ingestion) -> None:
    """Send merchants, users and campaigns."""
    merchants = await ingestion.upsert_merchants(journey.merchants)
    users = await ingestion.upsert_users(journey.users)
    campaigns = await ingestion.upsert_campaigns(mapping.campaign_messages(journey.campaigns))
    print(f"catalog: {merchants:,} merchants, {users:,} users, {campaigns} campaigns", flush=True)


async def load_campaign_events(journey: Journey, ingestion: Ingestion) -> Totals:
    """Send deliveries and redemptions."""
    events = chain(
        mapping.delivery_messages(journey.deliveries, journey.campaigns),
        mapping.redemption_messages(journey.redemptions),
    )
    total = len(journey.deliveries.household_id) + len(journey.redemptions.household_id)
    return await ingestion.send(events, total=total, label="campaign events")


async def load_lines(
    journey: Journey, ingestion: Ingestion, *, where: NDArray[np.bool_] | None = None
) -> Totals:
    """Send the transaction lines, all or those where the mask holds."""
    return await ingestion.send(
        mapping.line_messages(journey.lines, journey.line_merchants, where),
        total=len(journey.lines) if where is None else int(where.sum()),
        label="transaction lines",
    )


async def load(journey: Journey, ingestion: Ingestion) -> Totals:
    """Send everything."""
    await load_catalog(journey, ingestion)
    return await load_campaign_events(journey, ingestion) + await load_lines(journey, ingestion)
