"""The audience jobs as they are registered, and statements that keep to their indexes."""

from collections.abc import Mapping
from typing import Any

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import audience_pb2 as pb
from services.analytics.operations.audience_jobs import build_audience_jobs
from services.analytics.server import open_database
from services.analytics.store.statements import STATEMENTS
from services.common.jobs import Every, JobContext
from tests.analytics_factories import add_catalog, event, ingest, running_server, settings_for
from tests.audience_factories import AudienceJobs
from tests.plans import explain


async def test_the_jobs_count_and_say_what_came_out(database: DatabaseAddresses) -> None:
    saved: list[Mapping[str, Any]] = []

    async def save(cursor: Mapping[str, Any]) -> None:
        saved.append(cursor)

    async with (
        running_server(database.analytics) as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await add_catalog(stubs)
        await ingest(
            stubs,
            event("v", "VIEWED"),
            event("b", "CONVERTED", revenue=3),
            event("w", "VIEWED", user_id="u2"),
        )
        operations = AudienceJobs.of(own)
        jobs = build_audience_jobs(
            cohorts=operations.cohorts,
            rfm=operations.rfm,
            segments=operations.segments,
            audience_seconds=300,
            rfm_seconds=3600,
        )
        results = [await job.run(JobContext(job_name=job.name, cursor={}, save=save)) for job in jobs]
        segments = await stubs.analytics.ListRfmSegments(pb.ListRfmSegmentsRequest())
    assert [(job.name, job.schedule) for job in jobs] == [
        ("cohorts", Every(seconds=300)),
        ("rfm", Every(seconds=3600)),
        ("segments", Every(seconds=300)),
    ]
    assert results[0].startswith("2 days of 2 users in 1 steps; 0 users moved")
    assert results[1:] == ["1 users", "1 campaigns"]
    assert len(saved) >= 3, "each extends its lease"
    assert sum(segment.users for segment in segments.segments) == 1


@pytest.mark.parametrize(
    ("statement", "arguments", "expected"),
    [
        (
            "list_cohorts",
            "'2026-01-01', '2026-03-31', '2025-12-31', 51, 7, 26, ''",
            {"cohort_activity_pkey", "cohort_money_pkey"},
        ),
        (
            "count_user_activity",
            "'2026-03-31 00:00Z', '2026-03-31 00:05Z'",
            {"events_received_idx", "user_activity_daily_pkey", "events_pkey"},
        ),
        ("count_received", "'2026-03-31 00:00Z', '2026-03-31 00:05Z'", {"events_received_idx"}),
        ("list_rfm_segments", "", {"rfm_segments"}),
    ],
)
async def test_audience_statements_keep_to_their_indexes(
    database: DatabaseAddresses, statement: str, arguments: str, expected: set[str]
) -> None:
    plan = await explain(database.analytics, STATEMENTS[statement].sql, arguments)
    for index in expected:
        assert index in plan, plan
