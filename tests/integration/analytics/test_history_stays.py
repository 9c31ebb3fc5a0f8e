"""Changes of the catalog rewrite nothing that was counted, not even by a rebuild."""

import asyncpg

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import catalog_service_pb2
from services.analytics.operations.recount import RecountOperations
from services.analytics.server import open_database
from services.analytics.store.recount import ROLLUPS
from tests.analytics_factories import (
    Stubs,
    add_catalog,
    campaign,
    event,
    ingest,
    running_server,
    settings_for,
)


async def keep_user(stubs: Stubs, *segments: str) -> None:
    user = catalog_service_pb2.User(user_id="u1", segments=segments)
    await stubs.catalog.UpsertUsers(catalog_service_pb2.UpsertUsersRequest(users=[user]))


async def read_rollups(database: DatabaseAddresses) -> dict[str, list[str]]:
    connection = await asyncpg.connect(database.analytics)
    try:
        rows = {
            name: await connection.fetch(f"select r::text from {name} r order by 1")
            for name in ROLLUPS
            if not name.startswith("portfolio")  # split in slots at random
        }
    finally:
        await connection.close()
    return {name: [row[0] for row in found] for name, found in rows.items()}


async def test_catalog_changes_leave_what_was_counted(database: DatabaseAddresses) -> None:
    sent = [
        event("a"),
        event("b", "CONVERTED", revenue=10),
        event("c", "CONVERTED", campaign_id=None, merchant_id=1, revenue=3),
        event("r", "REFUNDED", revenue=2, original_event_id="b", event_time="2026-03-02T00:00:00+00:00"),
    ]
    async with running_server(database.analytics) as stubs:
        await add_catalog(stubs, campaign("c1", offer_amount=5, channel=1, merchant_id=1))
        await keep_user(stubs, "new", "vip")
        assert (await ingest(stubs, *sent)).accepted_count == len(sent)
        before = await read_rollups(database)
        assert any("5000000" in row for row in before["campaign_delivery_daily"])
        await add_catalog(stubs, campaign("c1", offer_amount=9, channel=3))
        await keep_user(stubs, "dormant")
        assert (await ingest(stubs, *sent)).duplicate_count == len(sent)
        assert await read_rollups(database) == before
        async with open_database(settings_for(database.analytics)) as opened:
            await RecountOperations(opened).rebuild(None)
        assert await read_rollups(database) == before
        later = await ingest(stubs, event("d"), event("r2", "REFUNDED", revenue=1, original_event_id="b"))
        assert later.accepted_count == 2
    after = await read_rollups(database)
    assert sorted(row.split(",")[1] for row in after["campaign_segment_analytics"]) == [
        "dormant",
        "new",
        "vip",
    ]
    offers = {row.split(",")[2]: row.split(",")[9] for row in after["campaign_delivery_daily"]}
    assert offers == {"5000000": "7000000", "9000000": "0"}
