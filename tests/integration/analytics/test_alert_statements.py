"""What rules look at every minute keeps to indexes, and no rule has two open alerts."""

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common.statements import load_statements
from tests.plans import NO_SCANS, explain

STATEMENTS = load_statements("services.analytics")


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        (
            "fetch_alert_campaign_days",
            "'c1', '2026-03-01', '2026-03-07'",
            {"campaign_analytics_daily_pkey", "campaign_delivery_daily_pkey"},
        ),
        ("fetch_alert_campaign_hours", "'c1', '2026-03-01', '2026-03-07'", {"campaign_trend_data_pkey"}),
        ("fetch_alert_campaign_life", "'c1'", {"campaign_totals_pkey"}),
        (
            "fetch_alert_portfolio_days",
            "'USD', '2026-03-01', '2026-03-07'",
            {"portfolio_analytics_daily_pkey"},
        ),
        (
            "fetch_alert_portfolio_hours",
            "'USD', '2026-03-01', '2026-03-07'",
            {"portfolio_analytics_hourly_pkey"},
        ),
        ("list_live_alert_rules", "", {"alerts_open_key"}),
        ("list_recent_alerts", "'2026-03-01'", {"alerts_open_key", "alerts_closed_idx"}),
        ("list_alert_rules", "null, null, null, 10", {"alert_rules_created_idx"}),
        ("list_alerts", "null, false, null, null, 10", {"alerts_opened_idx"}),
        ("close_alerts_of_rule", "'r1', '2026-03-01'", {"alerts_open_key"}),
    ],
)
async def test_statements_of_alerts_keep_to_their_indexes(
    database: DatabaseAddresses, name: str, arguments: str, expected: set[str]
) -> None:
    no_scans = f"{NO_SCANS}; set enable_sort = off"
    plan = await explain(database.analytics, STATEMENTS[name].sql, arguments, settings=no_scans)
    for words in expected:
        assert words in plan, plan


async def test_a_rule_has_at_most_one_open_alert(database: DatabaseAddresses) -> None:
    connection = await asyncpg.connect(database.analytics)
    try:
        await connection.execute(
            "insert into alert_rules (rule_id, metric, kind, threshold, days, minimum_volume,"
            " requires_significance, created_at) values ('r', 'ctr', 1, 0.5, 1, 0, true, now())"
        )
        now = await connection.fetchval("select now()")
        figures = (0.6, None, None, None, "message")
        opened = [
            await connection.fetchval(STATEMENTS["open_alert"].sql, alert_id, "r", now, *figures)
            for alert_id in ("a1", "a2")
        ]
        assert opened == ["a1", None]
    finally:
        await connection.close()
