"""The statements of the A/B test service, one method each: rows in, dataclasses out."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final

import asyncpg

from services.abtest.domain.analysis import Analysis, Comparison, describe_group
from services.abtest.domain.decision import Decision, Verdict
from services.abtest.domain.model import (
    ABTest,
    Assignment,
    DecisionMethod,
    EpochCounts,
    Group,
    GroupCounts,
    Status,
    TestDesign,
    WeightEpoch,
)
from services.abtest.domain.proportions import HypothesisTest, Interval
from services.abtest.domain.sample_ratio import SampleRatioCheck
from services.abtest.domain.sequential import AnytimeEvidence
from services.common.database import Connection
from services.common.statements import load_statements

_STATEMENTS: Final = load_statements("services.abtest")
REQUEST_ID_CONSTRAINT: Final = "ab_tests_request_id_key"
"""The name of the violation that tells of a request_id taken by a concurrent request."""
AssignmentKey = tuple[str, str]
"""A test_id and a user_id."""


class Store:
    """The statements on one connection; the caller owns the transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list_known_campaigns(self, campaign_ids: Sequence[str]) -> set[str]:
        """Return those of `campaign_ids` that the catalog has."""
        rows = await self._list("list_known_campaigns", list(campaign_ids))
        return {row["campaign_id"] for row in rows}

    async def insert_test(self, test: ABTest, request_id: str | None) -> None:
        """Add a running test, its groups and its first weight epoch."""
        design = test.design
        await self._execute(
            "insert_test",
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
        await self._execute(
            "insert_groups",
            test.test_id,
            [group.name for group in design.groups],
            [group.campaign_id for group in design.groups],
        )
        await self._execute(
            "insert_weight_epoch",
            test.test_id,
            test.epoch.number,
            test.epoch.weights,
            test.epoch.coverage,
            test.created_at,
        )

    async def list_tests_by_id(self, test_ids: Sequence[str]) -> dict[str, ABTest]:
        """Return those of `test_ids` that exist."""
        rows = await self._list("list_tests_by_id", list(test_ids))
        return {row["test_id"]: _test(row) for row in rows}

    async def share_tests(self, test_ids: Sequence[str]) -> dict[str, ABTest]:
        """Return those of `test_ids` that exist, kept as they are until the transaction is over."""
        await self._execute("share_tests", list(test_ids))
        # A second statement, so that it sees what the first one waited for.
        return await self.list_tests_by_id(test_ids)

    async def fetch_request(self, request_id: str) -> tuple[str, WeightEpoch] | None:
        """Return the test_id that `request_id` created and its first weight epoch."""
        row = await self._fetch("fetch_request", request_id)
        if row is None:
            return None
        return row["test_id"], WeightEpoch(number=1, weights=tuple(row["weights"]), coverage=row["coverage"])

    async def list_tests(self, before: tuple[datetime, str], limit: int) -> list[ABTest]:
        """Return at most `limit` tests created before (time, test_id), the newest first."""
        return [_test(row) for row in await self._list("list_tests", *before, limit)]

    async def end_test(self, test_id: str, ended_at: datetime) -> None:
        """End a test unless it has ended, after the assignments under way; later ones see that it has."""
        await self._execute("lock_test", test_id)
        await self._execute("end_test", test_id, ended_at)

    async def list_assignments(self, keys: Sequence[AssignmentKey]) -> dict[AssignmentKey, Assignment]:
        """Return the assignments that exist of `keys`."""
        rows = await self._list("list_assignments", [key[0] for key in keys], [key[1] for key in keys])
        return {(row["test_id"], row["user_id"]): _assignment(row) for row in rows}

    async def insert_assignments(
        self, assignments: Sequence[Assignment], *, assigned_at: datetime, slot: int
    ) -> set[AssignmentKey]:
        """Add first assignments, counted in `slot`; return those that were not there already."""
        rows = await self._list(
            "insert_assignments",
            [assignment.test_id for assignment in assignments],
            [assignment.user_id for assignment in assignments],
            [assignment.group_index for assignment in assignments],
            [assignment.epoch for assignment in assignments],
            [assignment.propensity for assignment in assignments],
            assigned_at,
            slot,
        )
        return {(row["test_id"], row["user_id"]) for row in rows}

    async def list_group_users(self, test_id: str) -> dict[int, int]:
        """Return the assigned users by group index; groups without users are left out."""
        return {row["group_index"]: row["users"] for row in await self._list("list_group_users", test_id)}

    async def list_outcomes(
        self, test_id: str, groups: int, *, assigned_until: datetime | None = None
    ) -> list[EpochCounts]:
        """Return the counts of each weight epoch that has users, of all or those assigned by a time."""
        rows = await self._list("list_outcomes", test_id, assigned_until)
        return [
            _epoch_counts(epoch, list(of_epoch), groups)
            for epoch, of_epoch in groupby(rows, key=lambda row: int(row["epoch"]))
        ]

    async def fetch_horizon(self, test_id: str, target_sample_size: int) -> datetime | None:
        """Return when every group had its target, None before."""
        row = await self._fetch("fetch_horizon", test_id, target_sample_size)
        return None if row is None else row["reached_at"]

    async def insert_final_result(self, test_id: str, analysis: Analysis, analyzed_at: datetime) -> bool:
        """Keep the final result of a test; return False, and change nothing, where one is kept already."""
        decision, check = analysis.decision, analysis.sample_ratio
        names = [group.name for group in analysis.groups]
        rows = await self._list(
            "insert_final_result",
            test_id,
            analyzed_at,
            decision.verdict,
            None if decision.winner is None else names.index(decision.winner),
            decision.recommendation,
            decision.reasons,
            analysis.warnings,
            None if check is None else check.fixed_p_value,
            None if check is None else check.sequential_p_value,
        )
        if not rows:
            return False
        parts = [
            (index, group.counts.users, group.counts.conversions, *_comparison_columns(comparison))
            for index, (group, comparison) in enumerate(
                zip(analysis.groups, (None, *analysis.comparisons), strict=True)
            )
        ]
        columns = [list(column) for column in zip(*parts, strict=True)]
        await self._execute("insert_group_results", test_id, rows[0]["result_number"], *columns)
        return True

    async def list_final_results(self, tests: Sequence[ABTest]) -> dict[str, Analysis]:
        """Return the final results that are kept of `tests`, by test_id."""
        test_ids = [test.test_id for test in tests]
        results = {row["test_id"]: row for row in await self._list("list_final_results", test_ids)}
        groups: dict[str, list[asyncpg.Record]] = {}
        for row in await self._list("list_final_group_results", test_ids):
            groups.setdefault(row["test_id"], []).append(row)
        return {
            test.test_id: _analysis(test.design, results[test.test_id], groups[test.test_id])
            for test in tests
            if test.test_id in results
        }

    async def _fetch(self, name: str, *arguments: Any) -> asyncpg.Record | None:  # noqa: ANN401 (SQL values)
        return await self._connection.fetchrow(_STATEMENTS[name].sql, *arguments)

    async def _list(self, name: str, *arguments: Any) -> list[asyncpg.Record]:  # noqa: ANN401 (SQL values)
        return await self._connection.fetch(_STATEMENTS[name].sql, *arguments)

    async def _execute(self, name: str, *arguments: Any) -> None:  # noqa: ANN401 (SQL values)
        await self._connection.execute(_STATEMENTS[name].sql, *arguments)


def _test(row: asyncpg.Record) -> ABTest:
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


def _assignment(row: asyncpg.Record) -> Assignment:
    return Assignment(
        test_id=row["test_id"],
        user_id=row["user_id"],
        group_index=row["group_index"],
        group=Group(name=row["group_name"], campaign_id=row["campaign_id"]),
        epoch=row["epoch"],
        propensity=row["propensity"],
        assigned_at=row["assigned_at"],
    )


def _epoch_counts(epoch: int, rows: Sequence[asyncpg.Record], groups: int) -> EpochCounts:
    counts = {
        row["group_index"]: GroupCounts(users=row["users"], conversions=row["conversions"]) for row in rows
    }
    return EpochCounts(
        epoch=epoch,
        weights=tuple(rows[0]["weights"]),
        groups=tuple(counts.get(index, GroupCounts(users=0)) for index in range(groups)),
    )


def _comparison_columns(comparison: Comparison | None) -> tuple[float | str | None, ...]:
    """Return the columns of insert_group_results after the counts; all null for control."""
    if comparison is None:
        return (None,) * 14
    test, anytime = comparison.test, comparison.anytime
    return (
        *((test.method, test.statistic, test.p_value, test.log10_p_value) if test else (None,) * 4),
        anytime.p_value if anytime else None,
        comparison.power,
        comparison.absolute_lift,
        *_ends(comparison.absolute_lift_interval),
        comparison.relative_lift,
        *_ends(comparison.relative_lift_interval),
        *_ends(anytime.relative_lift_interval if anytime else None),
    )


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval.lower, interval.upper)


def _analysis(design: TestDesign, result: asyncpg.Record, groups: Sequence[asyncpg.Record]) -> Analysis:
    winner = result["winner_index"]
    return Analysis(
        groups=tuple(
            describe_group(
                design, group.name, GroupCounts(users=row["users"], conversions=row["conversions"])
            )
            for group, row in zip(design.groups, groups, strict=True)
        ),
        comparisons=tuple(_comparison(row) for row in groups[1:]),
        sample_ratio=None
        if result["sample_ratio_p_value"] is None
        else SampleRatioCheck(
            fixed_p_value=result["sample_ratio_p_value"],
            sequential_p_value=result["sequential_sample_ratio_p_value"],
        ),
        decision=Decision(
            verdict=Verdict(result["verdict"]),
            winner=None if winner is None else design.groups[winner].name,
            recommendation=result["recommendation"],
            reasons=tuple(result["reasons"]),
        ),
        warnings=tuple(result["warnings"]),
    )


def _comparison(row: asyncpg.Record) -> Comparison:
    anytime_interval = _interval(row, "anytime_relative_lift")
    return Comparison(
        test=None
        if row["p_value"] is None
        else HypothesisTest(
            statistic=row["statistic"],
            p_value=row["p_value"],
            log10_p_value=row["log10_p_value"],
            method=row["method"],
        ),
        anytime=None
        if anytime_interval is None
        else AnytimeEvidence(relative_lift_interval=anytime_interval, p_value=row["anytime_p_value"]),
        absolute_lift=row["absolute_lift"],
        absolute_lift_interval=_interval(row, "absolute_lift"),
        relative_lift=row["relative_lift"],
        relative_lift_interval=_interval(row, "relative_lift"),
        power=row["power"],
    )


def _interval(row: asyncpg.Record, name: str) -> Interval | None:
    lower, upper = row[f"{name}_lower"], row[f"{name}_upper"]
    return None if lower is None else Interval(lower=lower, upper=upper)
