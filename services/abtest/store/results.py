"""Statements of kept results."""

from collections.abc import Sequence
from datetime import datetime

from services.abtest.domain.analysis import Analysis, Comparison, describe_group
from services.abtest.domain.model import ABTest, GroupCounts, TestDesign
from services.abtest.domain.proportions import HypothesisTest, Interval
from services.abtest.domain.sample_ratio import SampleRatioCheck
from services.abtest.domain.sequential import AnytimeEvidence
from services.abtest.domain.verdicts import Decision, Verdict
from services.abtest.store.statements import STATEMENTS, Connection, Record


async def insert_final_result(
    connection: Connection, test_id: str, analysis: Analysis, analyzed_at: datetime
) -> bool:
    """Keep the final result of a test; return False, and change nothing, where one is kept already."""
    decision, check = analysis.decision, analysis.sample_ratio
    names = [group.name for group in analysis.groups]
    rows = await connection.fetch(
        STATEMENTS["insert_final_result"].sql,
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
    await connection.execute(
        STATEMENTS["insert_group_results"].sql, test_id, rows[0]["result_number"], *columns
    )
    return True


async def list_final_results(connection: Connection, tests: Sequence[ABTest]) -> dict[str, Analysis]:
    """Return the final results that are kept of `tests`, by test_id."""
    test_ids = [test.test_id for test in tests]
    results = {
        row["test_id"]: row for row in await connection.fetch(STATEMENTS["list_final_results"].sql, test_ids)
    }
    groups: dict[str, list[Record]] = {}
    for row in await connection.fetch(STATEMENTS["list_final_group_results"].sql, test_ids):
        groups.setdefault(row["test_id"], []).append(row)
    return {
        test.test_id: _analysis(test.design, results[test.test_id], groups[test.test_id])
        for test in tests
        if test.test_id in results
    }


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


def _analysis(design: TestDesign, result: Record, groups: Sequence[Record]) -> Analysis:
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


def _comparison(row: Record) -> Comparison:
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


def _interval(row: Record, name: str) -> Interval | None:
    lower, upper = row[f"{name}_lower"], row[f"{name}_upper"]
    return None if lower is None else Interval(lower=lower, upper=upper)
