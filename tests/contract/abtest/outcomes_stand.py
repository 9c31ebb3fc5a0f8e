"""A test of many users, and what they did after their assignment."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from gen.campaigns.abtest.v1 import metrics_pb2, results_pb2
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from gen.campaigns.abtest.v1.export_service_pb2_grpc import ABTestExportServiceStub
from tests.abtest_factories import (
    CONTROL_CAMPAIGN,
    VARIANT_CAMPAIGN,
    a_test,
)

USERS = 400
BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
DELIVERED, CLICKED, CONVERTED = 1, 3, 4


@dataclass
class Service:
    """A server whose clock stands until it is moved, and the database behind it."""

    stub: ABTestServiceStub
    export: ABTestExportServiceStub
    admin_url: str
    now: datetime = BEGIN

    async def execute(self, sql: str, *arguments: object) -> None:
        connection = await asyncpg.connect(self.admin_url)
        try:
            await connection.execute(sql, *arguments)
        finally:
            await connection.close()

    async def add(self, *rows: tuple[object, ...]) -> None:
        """Add events: user, event_id, campaign, type, event time, counted time, micros."""
        connection = await asyncpg.connect(self.admin_url)
        try:
            await connection.executemany(
                "insert into analytics.events (user_id, event_id, campaign_id, event_type, event_at,"
                " counted_at, revenue_micros, stamped_fields, is_machine_open, currency_code)"
                " values ($1, $2, $3, $4, $5, $6, $7, 0, false, 'USD')",
                rows,
            )
        finally:
            await connection.close()

    async def start(self, users: int = USERS, **fields: Any) -> tuple[str, list[str], list[str]]:  # noqa: ANN401
        """Return a test with its users, even numbers in control; they were assigned an hour apart."""
        created = await self.stub.CreateTest(a_test(target_sample_size=max(2, users // 2), **fields))
        await self.execute(
            "insert into abtest.ab_test_assignments (user_id, test_id, assigned_at, propensity, epoch,"
            " group_index) select 'u' || i, $1, $2::timestamptz + i * interval '1 hour', 0.5, 1, i % 2"
            " from generate_series(0, $3::integer - 1) as n (i)",
            created.test_id,
            self.now,
            users,
        )
        await self.execute(
            "insert into abtest.ab_test_group_counters (test_id, epoch, group_index, slot, users)"
            " select test_id, epoch, group_index, 0, count(*) from abtest.ab_test_assignments"
            " where test_id = $1 group by 1, 2, 3",
            created.test_id,
        )
        names = [f"u{number}" for number in range(users)]
        return created.test_id, names[::2], names[1::2]

    async def analyze(self, test_id: str, **fields: Any) -> results_pb2.AnalyzeTestResponse:  # noqa: ANN401
        return await self.stub.AnalyzeTest(results_pb2.AnalyzeTestRequest(test_id=test_id, **fields))


def event(
    user: str, kind: int, *, after: timedelta = timedelta(hours=1), micros: int | None = None
) -> tuple[object, ...]:
    number = int(user[1:])
    campaign = CONTROL_CAMPAIGN if number % 2 == 0 else VARIANT_CAMPAIGN
    at = BEGIN + timedelta(hours=number) + after
    return user, f"{kind}-{after}", campaign, kind, at, at, micros


REVENUE = metrics_pb2.Metric(metric_type="revenue_per_user", winsorize_quantile=0.99)
