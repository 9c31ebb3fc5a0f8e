"""The process: its commands, its start, and what happens with another reporting zone."""

import os
import subprocess
import sys
from collections.abc import Mapping

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from services.common.errors import FailedPreconditionError, InvalidArgumentError
from tests.analytics_factories import add_catalog, event, ingest, refusal, running_server


def run(database: DatabaseAddresses, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables: Mapping[str, str] = {
        **os.environ,
        "ANALYTICS_DATABASE_URL": database.analytics,
        "ANALYTICS_PORT": "0",
        "ANALYTICS_METRICS_PORT": "0",
        **environment,
    }
    return subprocess.run(
        [sys.executable, "-m", "services.analytics", *arguments],
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


async def fill(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics, reporting_time_zone="UTC") as stubs:
        await add_catalog(stubs)
        await ingest(
            stubs,
            event("a", event_time="2026-03-02T03:00:00+00:00"),
            event("b", "CONVERTED", revenue=3, event_time="2026-03-02T12:00:00+00:00"),
        )


async def test_reconcile_says_whether_rollups_are_true(database: DatabaseAddresses) -> None:
    await fill(database)
    clean = run(database, "reconcile")
    assert (clean.returncode, "every rollup equals a recount" in clean.stdout) == (0, True)
    connection = await asyncpg.connect(database.analytics)
    try:
        await connection.execute("update campaign_user_totals set clicks = 7")
    finally:
        await connection.close()
    damaged = run(database, "reconcile")
    assert damaged.returncode == 1
    assert "campaign_user_totals: stored: (c1,u1,1,0,7," in damaged.stdout
    assert "2 rows differ" in damaged.stdout


async def test_another_zone_is_refused_and_rebuild_changes_it(database: DatabaseAddresses) -> None:
    await fill(database)
    refused = run(database, REPORTING_TIME_ZONE="America/New_York")
    assert refused.returncode == 1
    assert "REPORTING_TIME_ZONE is America/New_York, but days are counted in UTC" in refused.stderr
    command = "python -m services.analytics rebuild --reporting-time-zone America/New_York"
    assert command in refused.stderr
    rebuilt = run(database, *command.split()[3:])
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert run(database, "reconcile").returncode == 0
    with pytest.raises(FailedPreconditionError):
        async with running_server(database.analytics, reporting_time_zone="UTC"):
            raise AssertionError("started with another zone")
    async with running_server(database.analytics, reporting_time_zone="America/New_York") as stubs:
        trend = await stubs.analytics.GetCampaignTrend(pb.GetCampaignTrendRequest(campaign_id="c1"))
    assert [(p.period, p.impressions, p.conversions) for p in trend.points] == [
        ("2026-03-01", 1, 0),
        ("2026-03-02", 0, 1),
    ]


async def test_an_unknown_zone_is_refused(database: DatabaseAddresses) -> None:
    with pytest.raises(InvalidArgumentError, match="no IANA time zone"):
        async with running_server(database.analytics, reporting_time_zone="New York"):
            raise AssertionError("started in no zone")
    unknown = run(database, "rebuild", "--reporting-time-zone", "Mars/Base")
    assert (unknown.returncode, "Mars/Base" in unknown.stderr) == (1, True)
    nothing = run(database, "rebuild")
    assert (nothing.returncode, "--reporting-time-zone" in nothing.stderr) == (1, True)


def test_help_lists_commands_and_settings(database: DatabaseAddresses) -> None:
    shown = run(database, "--help")
    assert shown.returncode == 0
    for words in ("migrate", "reconcile", "rebuild", "ANALYTICS_PORT", "50051", "REPORTING_TIME_ZONE", "UTC"):
        assert words in shown.stdout


def test_a_wrong_setting_is_named(database: DatabaseAddresses) -> None:
    wrong = run(database, ANALYTICS_MAX_BATCH_EVENTS="many")
    assert (wrong.returncode, "setting ANALYTICS_MAX_BATCH_EVENTS" in wrong.stderr) == (2, True)


async def test_a_lost_database_is_unavailable_and_comes_back(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics) as stubs:
        await add_catalog(stubs)
        admin = await asyncpg.connect(database.admin)
        try:
            # In transactions of their own: a pool connects again as soon as it has lost a connection.
            await admin.execute("alter role analytics connection limit 0")
            await admin.execute(
                "select pg_terminate_backend(pid, 60000) from pg_stat_activity where usename = 'analytics'"
            )
            refused = await refusal(ingest(stubs, event("a")))
            assert (refused.code, refused.reason) == ("UNAVAILABLE", "DATABASE_UNAVAILABLE")
        finally:
            await admin.execute("alter role analytics connection limit -1")
            await admin.close()
        assert (await ingest(stubs, event("a"))).accepted_count == 1
