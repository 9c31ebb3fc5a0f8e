"""Watching across replicas, over lost notifications, and through a restart of the database."""

import asyncio
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import grpc

from deploy.local import bootstrap
from deploy.local.bootstrap import DatabaseAddresses
from deploy.local.postgres import running_throwaway_cluster
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from gen.campaigns.analytics.v1 import operations_service_pb2
from services.analytics.operations.changes import CHANNEL, SEND_SECONDS, Changes, decode_topics
from services.common.database import Database
from tests.analytics_factories import Stubs, add_catalog, event, ingest, running_server

NEVER = 3600


def watch_campaign(stubs: Stubs, campaign_id: str = "c1") -> Any:  # noqa: ANN401 (a call, untyped in gRPC's stubs)
    return stubs.analytics.WatchCampaign(pb.WatchCampaignRequest(campaign_id=campaign_id))


async def impressions(call: Any) -> int:  # noqa: ANN401
    message = await asyncio.wait_for(call.read(), 60)
    assert message is not grpc.aio.EOF
    return int(message.metrics.impressions)


async def test_a_commit_by_any_replica_reaches_the_watchers_of_all(database: DatabaseAddresses) -> None:
    async with (
        running_server(database.analytics, watch_poll_seconds=NEVER) as one,
        running_server(database.analytics, watch_poll_seconds=NEVER) as two,
    ):
        await add_catalog(one)
        calls = [watch_campaign(stubs) for stubs in (one, two, two)]
        assert await asyncio.gather(*map(impressions, calls)) == [0, 0, 0]
        await ingest(one, event("a"))
        assert await asyncio.gather(*map(impressions, calls)) == [1, 1, 1]
        await ingest(two, event("b"))
        assert await asyncio.gather(*map(impressions, calls)) == [2, 2, 2]


async def test_a_replica_holds_one_connection_for_all_its_watchers(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics, database_connections=3) as stubs:
        await add_catalog(stubs)
        calls = [watch_campaign(stubs, f"c{number % 2 + 1}") for number in range(60)]
        assert await asyncio.gather(*map(impressions, calls)) == [0] * 60
        await ingest(stubs, event("a"), event("b", campaign_id="c2"))
        assert await asyncio.gather(*map(impressions, calls)) == [1] * 60
        admin = await asyncpg.connect(database.admin)
        try:
            connections = await admin.fetchval(
                "select count(*) from pg_stat_activity"
                " where usename = 'analytics' and datname = current_database()"
            )
        finally:
            await admin.close()
        assert connections <= 4


async def test_notifications_are_throttled(database: DatabaseAddresses) -> None:
    """However many batches are committed, a replica sends at most one notification per fifth of a second."""
    loop, heard = asyncio.get_running_loop(), list[frozenset[str]]()
    listener = await asyncpg.connect(database.analytics)
    try:
        await listener.add_listener(CHANNEL, lambda *sent: heard.append(decode_topics(str(sent[-1]))))
        async with running_server(database.analytics) as stubs:
            await add_catalog(stubs)
            begun = loop.time()
            for number in range(40):
                await ingest(stubs, event(f"e{number}", campaign_id=f"c{number % 2 + 1}"))
            seconds = loop.time() - begun
        async with asyncio.timeout(60):
            while frozenset[str]().union(*heard) != {"campaign:c1", "campaign:c2", "portfolio"}:
                await asyncio.sleep(0.01)
    finally:
        await listener.close()
    assert len(heard) <= seconds / SEND_SECONDS + 2


async def test_what_nobody_told_is_found_by_looking(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics, watch_poll_seconds=0.05) as stubs:
        await add_catalog(stubs)
        await ingest(stubs, event("a"))
        call = watch_campaign(stubs)
        assert await impressions(call) == 1
        admin = await asyncpg.connect(database.admin)
        try:
            await admin.execute("update analytics.campaign_totals set impressions = 5")
        finally:
            await admin.close()
        assert await impressions(call) == 5


async def test_a_lost_listening_connection_is_made_again(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics, watch_poll_seconds=NEVER) as stubs:
        await add_catalog(stubs)
        call = watch_campaign(stubs)
        assert await impressions(call) == 0
        admin = await asyncpg.connect(database.admin)
        try:
            await admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'analytics'"
            )
        finally:
            await admin.close()
        sent = asyncio.create_task(_ingest_until_taken(stubs, "a"))
        assert await impressions(call) == 1
        await sent


async def test_marks_are_sent_when_a_process_ends(database: DatabaseAddresses) -> None:
    """A command that changes everything, such as rebuild, tells it on its way out."""
    async with running_server(database.analytics, watch_poll_seconds=NEVER) as stubs:
        await add_catalog(stubs)
        await ingest(stubs, event("a"))
        call = watch_campaign(stubs)
        assert await impressions(call) == 1
        pool = await Database.open(database.admin, application_name="command")
        try:
            async with pool.acquire() as connection:
                await connection.execute("update analytics.campaign_totals set impressions = 5")
            changes = Changes(pool, lambda _topics: None)
            changes.mark_everything()
            await changes.flush()
        finally:
            await pool.close()
        assert await impressions(call) == 5


async def test_streams_and_jobs_live_through_a_restart_of_the_database(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    folder, port = tmp_path / "data", free_port()
    first = running_throwaway_cluster(folder, port=port)
    cluster = await asyncio.to_thread(first.__enter__)
    try:
        addresses = await _prepare(cluster.url(), cluster.url(database="merchants_db"))
        async with running_server(
            addresses.analytics,
            watch_poll_seconds=NEVER,
            jobs_enabled=True,
            job_poll_seconds=0.05,
            alert_interval_seconds=0.05,
        ) as stubs:
            await add_catalog(stubs)
            portfolio: Any = stubs.analytics.WatchPortfolio(pb.WatchPortfolioRequest())
            call = watch_campaign(stubs)
            assert await impressions(call) == 0
            await portfolio.read()
            await asyncio.to_thread(first.__exit__, None, None, None)
            first = running_throwaway_cluster(folder, port=port)
            await asyncio.to_thread(first.__enter__)
            restarted_at = datetime.now(UTC)
            sent = asyncio.create_task(
                _ingest_until_taken(stubs, "a", event_time="2026-03-31T09:00:00+00:00")
            )
            assert await impressions(call) == 1
            assert (await asyncio.wait_for(portfolio.read(), 60)).totals.impressions == 1
            await sent
            async with asyncio.timeout(300):
                while (await _job(stubs, "alerts")).last_succeeded_time.ToDatetime(UTC) < restarted_at:
                    await asyncio.sleep(0.05)
    finally:
        await asyncio.to_thread(first.__exit__, None, None, None)


async def _job(stubs: Stubs, job_name: str) -> operations_service_pb2.Job:
    answer = await stubs.operations.ListJobs(operations_service_pb2.ListJobsRequest())
    return next(job for job in answer.jobs if job.job_name == job_name)


async def _prepare(url: str, database_url: str) -> DatabaseAddresses:
    passwords = {role: secrets.token_urlsafe(12) for role in bootstrap.LOGIN_ROLES}
    await bootstrap.wait_until_connectable(url)
    await bootstrap.create_database(url, name="merchants_db")
    await bootstrap.create_roles(database_url)
    await bootstrap.ensure_passwords(database_url, passwords, new=passwords)
    await asyncio.to_thread(bootstrap.migrate_services, database_url, ["analytics"])
    return bootstrap.addresses(database_url, passwords)


async def _ingest_until_taken(stubs: Stubs, event_id: str, **fields: Any) -> None:  # noqa: ANN401
    async with asyncio.timeout(60):
        while True:
            try:
                await ingest(stubs, event(event_id, **fields))
                return
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                await asyncio.sleep(0.05)
