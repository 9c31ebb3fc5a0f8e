"""Statements of tests as they are defined."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from services.abtest.domain.model import ABTest, DecisionMethod, Group, Status, TestDesign, WeightEpoch
from services.abtest.store.statements import STATEMENTS, Connection, Record

REQUEST_ID_CONSTRAINT: Final = "ab_tests_request_id_key"
"""The name of the violation that tells of a request_id taken by a concurrent request."""


async def list_known_campaigns(connection: Connection, campaign_ids: Sequence[str]) -> set[str]:
    """Return those of `campaign_ids` that the catalog has."""
    rows = await connection.fetch(STATEMENTS["list_known_campaigns"].sql, list(campaign_ids))
    return {row["campaign_id"] for row in rows}


async def insert_test(connection: Connection, test: ABTest, request_id: str | None) -> None:
    """Add a running test, its groups and its first weight epoch."""
    design = test.design
    await connection.execute(
        STATEMENTS["insert_test"].sql,
        test.test_id,
        design.test_name,
        test.status,
        design.decision_method,
        design.target_sample_size,
        design.confidence_level,
        design.minimum_detectable_effect,
        design.seed,
        test.epoch.number,
        request_id,
        test.created_at,
    )
    await connection.execute(
        STATEMENTS["insert_groups"].sql,
        test.test_id,
        [group.name for group in design.groups],
        [group.campaign_id for group in design.groups],
    )
    await connection.execute(
        STATEMENTS["insert_weight_epoch"].sql,
        test.test_id,
        test.epoch.number,
        test.epoch.weights,
        test.epoch.coverage,
        test.created_at,
    )


async def list_tests_by_id(connection: Connection, test_ids: Sequence[str]) -> dict[str, ABTest]:
    """Return those of `test_ids` that exist."""
    rows = await connection.fetch(STATEMENTS["list_tests_by_id"].sql, list(test_ids))
    return {row["test_id"]: _test(row) for row in rows}


async def share_tests(connection: Connection, test_ids: Sequence[str]) -> dict[str, ABTest]:
    """Return those of `test_ids` that exist, kept as they are until the transaction is over."""
    await connection.execute(STATEMENTS["share_tests"].sql, list(test_ids))
    # A second statement, so that it sees what the first one waited for.
    return await list_tests_by_id(connection, test_ids)


async def fetch_request(connection: Connection, request_id: str) -> tuple[str, WeightEpoch] | None:
    """Return the test_id that `request_id` created and its first weight epoch."""
    row = await connection.fetchrow(STATEMENTS["fetch_request"].sql, request_id)
    if row is None:
        return None
    return row["test_id"], WeightEpoch(number=1, weights=tuple(row["weights"]), coverage=row["coverage"])


async def list_tests(connection: Connection, before: tuple[datetime, str], limit: int) -> list[ABTest]:
    """Return at most `limit` tests created before (time, test_id), the newest first."""
    return [_test(row) for row in await connection.fetch(STATEMENTS["list_tests"].sql, *before, limit)]


async def end_test(connection: Connection, test_id: str, ended_at: datetime) -> None:
    """End a test unless it has ended, after the assignments under way; later ones see that it has."""
    await connection.execute(STATEMENTS["lock_test"].sql, test_id)
    await connection.execute(STATEMENTS["end_test"].sql, test_id, ended_at)


def _test(row: Record) -> ABTest:
    return ABTest(
        test_id=row["test_id"],
        design=TestDesign(
            test_name=row["test_name"],
            groups=tuple(
                Group(name=name, campaign_id=campaign_id)
                for name, campaign_id in zip(row["group_names"], row["campaign_ids"], strict=True)
            ),
            target_sample_size=row["target_sample_size"],
            confidence_level=row["confidence_level"],
            decision_method=DecisionMethod(row["decision_method"]),
            minimum_detectable_effect=row["minimum_detectable_effect"],
            seed=row["hash_seed"],
        ),
        status=Status(row["status"]),
        epoch=WeightEpoch(number=row["epoch"], weights=tuple(row["weights"]), coverage=row["coverage"]),
        created_at=row["created_at"],
        ended_at=row["ended_at"],
    )
