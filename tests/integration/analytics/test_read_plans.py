"""Reads answer from the index that was made for them, however much there is beside what is asked for."""

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.analytics.store.statements import STATEMENTS

_TOP = "list_top_of_last_30_days_by_"
TOPS = sorted(name.removeprefix(_TOP) for name in STATEMENTS if name.startswith(_TOP))


async def explain(database: DatabaseAddresses, name: str, arguments: str, *settings: str) -> str:
    """Return the plan that a statement keeps for all arguments.

    Tables are empty here: the question is whether the index can answer, not whether it pays.
    """
    connection = await asyncpg.connect(database.analytics)
    try:
        for setting in ("enable_seqscan = off", "plan_cache_mode = force_generic_plan", *settings):
            await connection.execute(f"set {setting}")
        parameters = (await connection.prepare(STATEMENTS[name].sql)).get_parameters()
        types = ", ".join(f"{p.name.strip('_')}[]" if p.kind == "array" else p.name for p in parameters)
        await connection.execute(f"prepare checked ({types}) as {STATEMENTS[name].sql}")
        return "\n".join(row[0] for row in await connection.fetch(f"explain execute checked ({arguments})"))
    finally:
        await connection.close()


@pytest.mark.parametrize("metric", TOPS)
async def test_the_ten_best_are_the_first_entries_of_their_index(
    database: DatabaseAddresses, metric: str
) -> None:
    plan = await explain(database, f"{_TOP}{metric}", "'2026-03-31', ''", "enable_bitmapscan = off")
    assert f"Index Scan using campaign_last_30_days_{metric}_idx" in plan, plan
    # Only the ten are put in order once more, after their names are looked up: never all campaigns.
    before_the_limit = plan.split("Limit", 1)[1]
    assert "Sort" not in before_the_limit, plan
    assert "campaigns_pkey" in plan, plan


def test_every_metric_has_its_statement() -> None:
    assert len(TOPS) == 14


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        (
            "list_campaign_weeks",
            "'c1', '2026-01-01', '2026-03-31', '2026-01-05', '2026-03-30'",
            {
                "Index Only Scan using campaign_analytics_weekly_pkey",
                "Index Only Scan using campaign_analytics_daily_pkey",
            },
        ),
        (
            "rank_campaigns_by_users",
            "'2026-03-01', '2026-03-31', '2026-03-01', '2026-04-01', 100, '', 10",
            {"events_campaign_time_idx", "campaign_analytics_daily_pkey"},
        ),
        ("list_merchants", "1, 10", {"Index Scan using merchants_pkey"}),
        ("fetch_merchant", "1", {"Index Scan using merchants_pkey"}),
        (
            "list_costs",
            "'c1', '2026-01-01', 0, '2026-01-01', '2026-03-31', 50",
            {"Index Only Scan using campaigns_pkey", "Index Scan using campaign_daily_costs_pkey"},
        ),
        (
            "list_campaign_costs",
            "'c1', '2026-01-01', 0, '2026-01-01', '2026-03-31', 50",
            {"Index Scan using campaign_daily_costs_pkey"},
        ),
        ("list_forecasts", "'c1', ''", {"forecasts_pkey"}),
        ("list_forecast_points", "'c1', '', 28", {"forecast_points_pkey"}),
    ],
)
async def test_a_read_keeps_to_its_indexes(
    database: DatabaseAddresses, name: str, arguments: str, expected: set[str]
) -> None:
    plan = await explain(database, name, arguments, "enable_bitmapscan = off", "enable_sort = off")
    for words in expected:
        assert words in plan, plan


async def test_a_ranking_of_other_days_reads_only_those_days(database: DatabaseAddresses) -> None:
    plan = await explain(
        database,
        "rank_campaigns",
        "'2026-03-01', '2026-03-12', 'roas', 20, '', 10",
        "enable_indexscan = off",
        "enable_indexonlyscan = off",
    )
    assert "Bitmap Index Scan on campaign_analytics_daily_day_idx" in plan, plan
