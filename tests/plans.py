"""How the database would answer a statement: whether an index can, not whether it pays (tables are empty)."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import asyncpg

NO_SCANS: Final = "set enable_seqscan = off; set plan_cache_mode = force_generic_plan"


async def explain(
    url: str, sql: str, arguments: str | None = None, *, before: Sequence[str] = (), settings: str = NO_SCANS
) -> str:
    """Return the plan of a statement under a role, with these arguments (SQL; None: nulls).

    `before` runs first, such as what makes temporary tables; then `settings` of the planner.
    """
    connection = await asyncpg.connect(url)
    try:
        for statement in (*before, settings):
            await connection.execute(statement)
        parameters = (await connection.prepare(sql)).get_parameters()
        types = ", ".join(f"{p.name.strip('_')}[]" if p.kind == "array" else p.name for p in parameters)
        given = ", ".join(["null"] * len(parameters)) if arguments is None else arguments
        await connection.execute(f"prepare checked{f' ({types})' if types else ''} as {sql}")
        plan = await connection.fetch(f"explain execute checked{f' ({given})' if given else ''}")
        return "\n".join(row[0] for row in plan)
    finally:
        await connection.close()


def walk_plan(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a node of a plan in JSON, and all below it."""
    yield node
    for below in node.get("Plans", []):
        yield from walk_plan(below)


def rows_thrown_away(root: dict[str, Any]) -> int:
    """Return the most rows that one node of an analyzed plan reads or joins to throw them away."""
    return max(
        int(node["Actual Loops"]) * int(node.get(f"Rows Removed by {kind}", 0))
        for node in walk_plan(root)
        for kind in ("Filter", "Join Filter")
    )
