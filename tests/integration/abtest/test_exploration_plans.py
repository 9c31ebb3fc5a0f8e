"""Statements of bandits, overlaps and durations use their indexes."""

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common.statements import load_statements
from tests.plans import explain

STATEMENTS = load_statements("services.abtest")
DAYS = "'2026-03-01', '2026-03-29'"


@pytest.mark.parametrize(
    ("name", "arguments", "index"),
    [
        ("fetch_bandit", "'t'", "ab_test_bandits_pkey"),
        ("list_due_bandits", "now()", "ab_test_bandits_pkey"),
        ("list_bandit_steps", "'t', 5, 10", "ab_test_bandit_steps_pkey"),
        ("list_tests_of_campaigns", "array['c'], 10", "ab_test_groups_campaign"),
        ("count_shared_users", "array['t', 'u']", "ab_test_assignments_pkey"),
        ("list_users_of_tests", "array['t']", "ab_test_group_counters_pkey"),
        ("count_returning_users", f"array['c'], {DAYS}", "events_campaign_time_idx"),
        ("count_reached_users", f"array['c'], {DAYS}", "events_campaign_time_idx"),
    ],
)
async def test_a_statement_uses_its_index(
    module_database: DatabaseAddresses, name: str, arguments: str, index: str
) -> None:
    assert index in await explain(module_database.abtest, STATEMENTS[name].sql, arguments)
