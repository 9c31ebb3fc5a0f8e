"""The optimizer over a world whose offers are too low, for tests of recommendations."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import outcomes_pb2
from gen.campaigns.optimizer.v1 import recommendations_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from services.common.database import Database
from services.optimizer.operations.offer_outcomes import OutcomeKeeper
from tests.contract.optimizer.harness import (
    NOON,
    optimizer_settings,
    running_model_server,
    running_optimizer,
)

CAMPAIGN = "campaign-0"
DAY = timedelta(days=1)


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True, kw_only=True)
class Closed:
    """The optimizer, its clock, and the way to its database."""

    stub: OptimizerServiceStub
    clock: Clock
    addresses: DatabaseAddresses

    async def execute(self, statement: str, *arguments: object) -> None:
        connection = await asyncpg.connect(self.addresses.admin)
        try:
            await connection.execute(statement, *arguments)
        finally:
            await connection.close()

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.addresses.admin)
        try:
            return await connection.fetch(statement, *arguments)
        finally:
            await connection.close()

    async def recommend(self, campaign_id: str = CAMPAIGN) -> pb.GetOptimizationRecommendationsResponse:
        return await self.stub.GetOptimizationRecommendations(
            pb.GetOptimizationRecommendationsRequest(campaign_id=campaign_id)
        )

    async def offer(self) -> pb.OptimizationRecommendation:
        return by_type(await self.recommend())["offer_amount"]

    async def reckon(self) -> str:
        database = await Database.open(self.addresses.optimizer, application_name="test")
        try:
            return str(await OutcomeKeeper(database, now=self.clock).reckon())
        finally:
            await database.close()

    async def outcomes(self, **fields: Any) -> outcomes_pb2.ListOfferOutcomesResponse:  # noqa: ANN401 (of the request)
        return await self.stub.ListOfferOutcomes(outcomes_pb2.ListOfferOutcomesRequest(**fields))


def by_type(
    answer: pb.GetOptimizationRecommendationsResponse,
) -> dict[str, pb.OptimizationRecommendation]:
    return {each.type: each for each in answer.recommendations}


def reasons(answer: pb.GetOptimizationRecommendationsResponse) -> dict[str, str]:
    return {each.type: each.reason for each in answer.withheld}


def decision(stub: OptimizerServiceStub, name: str, **fields: Any) -> Any:  # noqa: ANN401 (any of three rpcs)
    request = getattr(pb, f"{name}Request")(**fields)
    return getattr(stub, name)(request)


@asynccontextmanager
async def running_closed(database: DatabaseAddresses, repository: Path) -> AsyncIterator[Closed]:
    """Serve the optimizer, with a model server over the repository, at a time that tests move."""
    clock = Clock()
    async with (
        running_model_server(repository) as port,
        running_optimizer(optimizer_settings(database.optimizer, repository, port), clock=clock) as stub,
    ):
        yield Closed(stub=stub, clock=clock, addresses=database)


async def end_test(closed: Closed, test_id: str, started_at: datetime) -> None:
    """Insert a test of two campaigns that ended after five days, by 50 against 65 conversions."""
    await closed.execute(
        "insert into abtest.ab_tests (test_id, test_name, status, decision_method, target_sample_size,"
        " confidence_level, hash_seed, current_epoch, created_at, started_at, ended_at)"
        " values ($1, $1, 2, 1, 1000, 0.95, 's', 1, $2, $2, $3)",
        test_id,
        started_at,
        started_at + 5 * DAY,
    )
    await closed.execute(
        "insert into abtest.ab_test_groups (test_id, group_index, group_name, campaign_id) values"
        " ($1, 0, 'control', 'campaign-1'), ($1, 1, 'variant', 'campaign-2')",
        test_id,
    )
    await closed.execute(
        "insert into abtest.ab_test_results (test_id, result_number, is_final, analyzed_at, verdict,"
        " recommendation, reasons, warnings) values ($1, 1, true, $2, 1, '', '{}', '{}')",
        test_id,
        started_at + 5 * DAY,
    )
    await closed.execute(
        "insert into abtest.ab_test_group_results (test_id, result_number, group_index, users, conversions,"
        " relative_lift, relative_lift_lower, relative_lift_upper) values"
        " ($1, 1, 0, 500, 50, null, null, null), ($1, 1, 1, 500, 65, 0.3, 0.05, 0.6)",
        test_id,
    )
