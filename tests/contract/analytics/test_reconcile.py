"""OperationsService.Reconcile, through a real server and stub, beside ingestion and a damaged rollup."""

import asyncio

import asyncpg
import grpc

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import operations_service_pb2 as pb
from services.analytics.store.recount import ROLLUPS
from tests.analytics_factories import Stubs, event, ingest, refusal


async def reconcile(stubs: Stubs) -> list[pb.ReconcileResponse]:
    return [message async for message in stubs.operations.Reconcile(pb.ReconcileRequest())]


async def test_every_rollup_is_compared_in_a_message_of_its_own(stubs: Stubs) -> None:
    await ingest(stubs, event("a"), event("b", campaign_id="c2"), event("c", user_id="u2"))
    messages = await reconcile(stubs)
    assert tuple(message.rollup for message in messages) == ROLLUPS
    assert [message.difference_count for message in messages] == [0] * len(ROLLUPS)
    compared = {message.rollup: message.compared_count for message in messages}
    assert (compared["campaign_totals"], compared["campaign_user_totals"]) == (2, 3)


async def test_differences_are_counted_and_some_are_shown(stubs: Stubs, database: DatabaseAddresses) -> None:
    await ingest(stubs, *(event(f"e{n}", user_id=f"u{n}") for n in range(30)))
    connection = await asyncpg.connect(database.analytics)
    try:
        await connection.execute("update campaign_user_totals set clicks = 7")
        await connection.execute("delete from campaign_trend_data")
    finally:
        await connection.close()
    found = {message.rollup: message for message in await reconcile(stubs) if message.difference_count}
    assert set(found) == {"campaign_user_totals", "campaign_trend_data"}
    users, hours = found["campaign_user_totals"], found["campaign_trend_data"]
    assert (users.difference_count, len(users.differences), users.compared_count) == (60, 20, 30)
    assert [(d.side, d.content[:4]) for d in hours.differences] == [("recounted", "(c1,")]


async def test_events_come_in_while_it_counts(stubs: Stubs) -> None:
    """What it compares is one snapshot, however many batches commit between two of its rollups."""
    sends = [ingest(stubs, event(f"e{n}", user_id=f"u{n % 3}")) for n in range(40)]
    reconciling = asyncio.create_task(reconcile(stubs))
    answers = await asyncio.gather(*sends)
    assert [answer.accepted_count for answer in answers] == [1] * 40
    assert [message.difference_count for message in await reconciling] == [0] * len(ROLLUPS)
    assert [message.difference_count for message in await reconcile(stubs)] == [0] * len(ROLLUPS)


async def test_one_at_a_time_and_a_caller_that_leaves_makes_room(
    stubs: Stubs, database: DatabaseAddresses
) -> None:
    blocker = await asyncpg.connect(database.admin)
    try:
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("lock table analytics.campaign_totals in access exclusive mode")
        held = stubs.operations.Reconcile(pb.ReconcileRequest())
        await held.read()  # one rollup is compared: it runs now, and will wait for the lock
        refused = await refusal(reconcile(stubs))
        assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_WAITING")
        held.cancel()
        await transaction.rollback()
    finally:
        await blocker.close()
    async with asyncio.timeout(60):
        assert len(await reconcile_when_free(stubs)) == len(ROLLUPS)


async def reconcile_when_free(stubs: Stubs) -> list[pb.ReconcileResponse]:
    while True:
        try:
            return await reconcile(stubs)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
