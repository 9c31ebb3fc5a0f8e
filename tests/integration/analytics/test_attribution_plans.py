"""The statements of attribution keep to their indexes."""

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.analytics.store.statements import STATEMENTS
from tests.plans import NO_SCANS, explain


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("list_campaign_credits", "'c1', '2026-01-01', '2026-03-31', 'USD'", "attribution_daily_pkey"),
        (
            "list_credits_without_groups",
            "array['c1'], '2026-01-01', '2026-03-31', 'USD', array['markov']",
            "attribution_daily_pkey",
        ),
        (
            "list_portfolio_credits",
            "'markov', '2026-01-01', '2026-03-31', 'USD', null, null, 50",
            "Index Only Scan using attribution_daily_model_day_idx",
        ),
        (
            "fetch_credit_sums",
            "'markov', '2026-01-01', '2026-03-31', 'USD'",
            "Index Only Scan using attribution_daily_model_day_idx",
        ),
        ("fetch_attributed", "'2026-01-01', '2026-03-31', 'USD'", "attribution_days_pkey"),
        ("delete_gone_attribution", "'2026-01-01', '2026-01-31'", "attribution_daily_model_day_idx"),
        ("list_changed_attribution_days", "'2026-01-01'", "events_received_idx"),
        ("list_merchant_campaigns", "1, '2026-01-01', '2026-03-31'", "campaign_delivery_daily_merchant_idx"),
        ("list_merchant_purchases", "1, '2026-01-01', '2026-03-31'", "merchant_daily_pkey"),
        ("fetch_users_of_campaigns", "array['c1'], 1000", "campaign_user_totals_pkey"),
        (
            "list_campaign_months",
            "'c1', '2026-01-01', '2026-03-31'",
            "Index Only Scan using campaign_analytics_daily_pkey",
        ),
    ],
)
async def test_statements_keep_to_their_indexes(
    database: DatabaseAddresses, name: str, arguments: str, expected: str
) -> None:
    settings = NO_SCANS if expected == "events_received_idx" else f"{NO_SCANS}; set enable_bitmapscan = off"
    before = [STATEMENTS["open_attribution"].sql]
    sql = STATEMENTS[name].sql
    plan = await explain(database.analytics, sql, arguments, before=before, settings=settings)
    assert expected in plan, plan
