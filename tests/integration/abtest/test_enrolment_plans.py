"""The statements of enrolment use their indexes, so that an assignment costs the same at any size."""

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common.statements import load_statements
from tests.plans import explain

STATEMENTS = load_statements("services.abtest")


@pytest.mark.parametrize(
    ("name", "arguments", "index"),
    [
        ("list_enrolments", "array['t']", "ab_tests_pkey"),
        ("list_enrolments", "array['t']", "ab_test_weight_epochs_pkey"),
        ("list_enrolments", "array['t']", "ab_test_enrolment_rules_pkey"),
        ("list_user_segments", "array['u']", "users_pkey"),
        (
            "insert_assignments",
            "array['t'], array['u'], '{0}', '{1}', '{0.5}', now(), 0::smallint",
            "users_pkey",
        ),
        ("list_exclusion_members", "'g'", "ab_test_enrolment_rules_group_idx"),
        ("list_exposed_users", "'t'", "ab_test_exposure_counters_pkey"),
    ],
)
async def test_statements_of_enrolment_use_their_index(
    database: DatabaseAddresses, name: str, arguments: str, index: str
) -> None:
    # A plan of its own: the lengths of the lists are known, as they are in the service.
    own_plan = "set enable_seqscan = off"
    assert index in await explain(database.abtest, STATEMENTS[name].sql, arguments, settings=own_plan)
