"""Statements of kept analyses."""

import json
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from services.abtest.domain.analysis import Analysis, KeptAnalysis
from services.abtest.domain.comparisons import Comparison
from services.abtest.domain.looks import Look, look_from_json, look_to_json
from services.abtest.domain.model import ABTest
from services.abtest.domain.outcomes import Outcomes
from services.abtest.domain.proportions import Interval
from services.abtest.store.documents import from_document, to_document
from services.abtest.store.early_results import analysis_of_columns
from services.abtest.store.statements import STATEMENTS, Connection, Record


def fingerprint_outcomes(outcomes: Outcomes, *, yates: bool) -> str:
    """Return what tells two analyses that would say the same."""
    content = json.dumps([to_document(outcomes), yates], sort_keys=True)
    return sha256(content.encode()).hexdigest()


async def lock_results(connection: Connection, test_id: str) -> None:
    """Let nobody else keep an analysis of a test until the transaction is over."""
    await connection.execute(STATEMENTS["lock_results"].sql, test_id)


async def insert_result(
    connection: Connection,
    test_id: str,
    analysis: Analysis,
    *,
    analyzed_at: datetime,
    fingerprint: str,
    is_final: bool,
) -> KeptAnalysis:
    """Keep an analysis, with the look it took; the caller has locked the test's results."""
    decision, check = analysis.decision, analysis.sample_ratio
    names = [group.name for group in analysis.groups]
    number = await connection.fetchval(
        STATEMENTS["insert_result"].sql,
        test_id,
        is_final,
        analyzed_at,
        decision.verdict,
        None if decision.winner is None else names.index(decision.winner),
        decision.recommendation,
        decision.reasons,
        analysis.warnings,
        None if check is None else check.check.fixed_p_value,
        None if check is None else check.check.sequential_p_value,
        json.dumps(to_document(analysis)),
        fingerprint,
    )
    parts = [
        (index, group.counts.users, group.counts.conversions, *_comparison_columns(comparison))
        for index, (group, comparison) in enumerate(
            zip(analysis.groups, (None, *analysis.primary.comparisons), strict=True)
        )
    ]
    columns = [list(column) for column in zip(*parts, strict=True)]
    await connection.execute(STATEMENTS["insert_group_results"].sql, test_id, number, *columns)
    if decision.look is not None:
        await connection.execute(
            STATEMENTS["insert_look"].sql,
            test_id,
            decision.look.number,
            number,
            json.dumps(look_to_json(decision.look)),
        )
    return KeptAnalysis(number=number, analyzed_at=analyzed_at, is_final=is_final, analysis=analysis)


async def list_looks(connection: Connection, test_id: str) -> list[Look]:
    """Return the looks that were taken at a test, by number."""
    rows = await connection.fetch(STATEMENTS["list_looks"].sql, test_id)
    return [look_from_json(json.loads(row["look"])) for row in rows]


async def fetch_same_result(connection: Connection, test: ABTest, fingerprint: str) -> KeptAnalysis | None:
    """Return the newest kept analysis of a test if it was of the same outcomes."""
    rows = await connection.fetch(STATEMENTS["list_same_results"].sql, test.test_id, fingerprint)
    return (await _read(connection, [test], rows))[0] if rows else None


async def list_final_results(connection: Connection, tests: Sequence[ABTest]) -> dict[str, KeptAnalysis]:
    """Return the final results that are kept of `tests`, by test_id."""
    rows = await connection.fetch(STATEMENTS["list_final_results"].sql, [test.test_id for test in tests])
    kept = await _read(connection, tests, rows)
    return {row["test_id"]: each for row, each in zip(rows, kept, strict=True)}


async def list_results(
    connection: Connection, test: ABTest, *, before: int, limit: int
) -> list[KeptAnalysis]:
    """Return at most `limit` analyses of a test with numbers under `before`, the newest first."""
    rows = await connection.fetch(STATEMENTS["list_results"].sql, test.test_id, before, limit)
    return await _read(connection, [test], rows)


async def _read(
    connection: Connection, tests: Sequence[ABTest], rows: Sequence[Record]
) -> list[KeptAnalysis]:
    by_id = {test.test_id: test for test in tests}
    early = [(row["test_id"], row["result_number"]) for row in rows if row["document"] is None]
    groups: dict[tuple[str, int], list[Record]] = {}
    if early:
        keys = [list(column) for column in zip(*early, strict=True)]
        for row in await connection.fetch(STATEMENTS["list_group_results"].sql, *keys):
            groups.setdefault((row["test_id"], row["result_number"]), []).append(row)
    return [
        KeptAnalysis(
            number=row["result_number"],
            analyzed_at=row["analyzed_at"],
            is_final=row["is_final"],
            analysis=analysis_of_columns(
                by_id[row["test_id"]], row, groups[row["test_id"], row["result_number"]]
            )
            if row["document"] is None
            else from_document(Analysis, json.loads(row["document"])),
        )
        for row in rows
    ]


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
