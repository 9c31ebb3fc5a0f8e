"""What a test shows over the wire: its status, analysis, end and history."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1 import (
    assignments_pb2,
    history_pb2,
    progress_pb2,
    results_pb2,
)
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from services.common.paging import encode_page_token
from tests.abtest_factories import CONTROL_CAMPAIGN, VARIANT_CAMPAIGN, a_test, add_events, refusal


async def assign(abtest: ABTestServiceStub, test_id: str, users: int) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {"control": [], "variant": []}
    for number in range(users):
        user_id = f"user_{number}"
        answer = await abtest.AssignUser(assignments_pb2.AssignUserRequest(test_id=test_id, user_id=user_id))
        groups[answer.assigned_group].append(user_id)
    return groups


async def test_status_tells_progress_and_why_it_can_end(abtest: ABTestServiceStub) -> None:
    test_id = (await abtest.CreateTest(a_test(target_sample_size=10))).test_id
    groups = await assign(abtest, test_id, 6)
    request = progress_pb2.GetTestStatusRequest(test_id=test_id)
    status = await abtest.GetTestStatus(request)
    assert [group.users for group in status.groups] == [len(groups["control"]), len(groups["variant"])]
    assert status.progress == pytest.approx(min(len(ids) for ids in groups.values()) / 10)
    assert not status.can_end
    assert "of 10 users" in status.can_end_reason
    await assign(abtest, test_id, 60)
    status = await abtest.GetTestStatus(request)
    assert status.progress == 1.0
    assert status.can_end
    assert not status.HasField("end_time")


async def test_only_conversions_on_the_own_campaign_after_the_assignment_count(
    abtest: ABTestServiceStub, database: DatabaseAddresses
) -> None:
    test_id = (await abtest.CreateTest(a_test())).test_id
    groups = await assign(abtest, test_id, 20)
    later, earlier = datetime.now(UTC) + timedelta(seconds=1), datetime.now(UTC) - timedelta(hours=1)
    one, two, three = groups["control"][:3]
    four, five, *_ = groups["variant"]
    await add_events(
        database.admin,
        [
            (CONTROL_CAMPAIGN, one, later),
            (CONTROL_CAMPAIGN, one, later),  # a user converts once
            (CONTROL_CAMPAIGN, two, earlier),  # before the assignment
            (VARIANT_CAMPAIGN, three, later),  # the other group's campaign
            (CONTROL_CAMPAIGN, "stranger", later),  # nobody of the test
            (VARIANT_CAMPAIGN, four, later),
            (VARIANT_CAMPAIGN, four, earlier),  # an earlier one does not undo the later one
        ],
    )
    await add_events(database.admin, [(VARIANT_CAMPAIGN, five, later)], event_type=3)  # a click
    result = await abtest.AnalyzeTest(results_pb2.AnalyzeTestRequest(test_id=test_id))
    assert [(group.group, group.users, group.conversions) for group in result.groups] == [
        ("control", len(groups["control"]), 1),
        ("variant", len(groups["variant"]), 1),
    ]


async def test_an_effect_is_found_and_kept_when_the_test_ends(
    abtest: ABTestServiceStub, database: DatabaseAddresses
) -> None:
    created = await abtest.CreateTest(a_test(target_sample_size=100, minimum_detectable_effect=0.5))
    test_id = created.test_id
    groups = await assign(abtest, test_id, 260)
    later = datetime.now(UTC) + timedelta(seconds=1)
    await add_events(
        database.admin,
        [(CONTROL_CAMPAIGN, user, later) for user in groups["control"][:12]]
        + [(VARIANT_CAMPAIGN, user, later) for user in groups["variant"][:60]],
    )
    running = await abtest.AnalyzeTest(results_pb2.AnalyzeTestRequest(test_id=test_id))
    assert running.verdict == "ship"
    assert running.winner == "variant"
    assert running.recommendation == "Deploy variant campaign"
    assert running.method == "pearson_chi_squared"
    assert running.decision_method == "anytime"
    assert 0 < running.p_value < running.anytime_p_value < 0.05
    assert running.improvement_percent == pytest.approx(100 * running.relative_lift)
    assert running.absolute_lift_interval.lower < running.absolute_lift < running.absolute_lift_interval.upper
    assert 0 < running.anytime_relative_lift_interval.lower < running.relative_lift_interval.lower
    assert 0 < running.power < 1
    assert running.reasons

    ended = await abtest.EndTest(results_pb2.EndTestRequest(test_id=test_id))
    assert not ended.is_active
    assert ended.HasField("end_time")
    assert (ended.winner, ended.p_value, ended.groups) == ("variant", running.p_value, running.groups)

    await add_events(database.admin, [(CONTROL_CAMPAIGN, user, later) for user in groups["control"][12:90]])
    assert await abtest.EndTest(results_pb2.EndTestRequest(test_id=test_id)) == ended
    kept = await abtest.AnalyzeTest(results_pb2.AnalyzeTestRequest(test_id=test_id))
    assert (kept.result_number, kept.analyzed_time) == (ended.result_number, ended.analyzed_time)
    assert kept.result_number == running.result_number + 1
    for field in ("result_number", "analyzed_time"):
        kept.ClearField(field)
        running.ClearField(field)
    assert kept == running
    history = await abtest.ListTestHistory(history_pb2.ListTestHistoryRequest())
    assert history.tests[0].result.p_value == running.p_value
    assert history.tests[0].end_time == ended.end_time


async def test_an_ended_test_enrols_nobody_and_keeps_who_was(abtest: ABTestServiceStub) -> None:
    test_id = (await abtest.CreateTest(a_test())).test_id
    before = await abtest.AssignUser(assignments_pb2.AssignUserRequest(test_id=test_id, user_id="early"))
    await abtest.EndTest(results_pb2.EndTestRequest(test_id=test_id))
    late = await abtest.AssignUser(assignments_pb2.AssignUserRequest(test_id=test_id, user_id="late"))
    assert not late.HasField("assigned_group")
    assert late.reason == "ended"
    assert (
        await abtest.AssignUser(assignments_pb2.AssignUserRequest(test_id=test_id, user_id="early")) == before
    )
    status = await abtest.GetTestStatus(progress_pb2.GetTestStatusRequest(test_id=test_id))
    assert not status.is_active
    assert status.can_end
    assert status.HasField("end_time")


async def test_a_test_without_users_says_so(abtest: ABTestServiceStub) -> None:
    test_id = (await abtest.CreateTest(a_test())).test_id
    result = await abtest.AnalyzeTest(results_pb2.AnalyzeTestRequest(test_id=test_id))
    assert {field.name for field, _ in result.ListFields()} == {
        "test_id",
        "groups",
        "verdict",
        "recommendation",
        "decision_method",
        "warnings",
        "reasons",
        "confidence_level",
        "comparisons",
        "metrics",
        "result_number",
        "analyzed_time",
        "number_methods",
        "time_to_decision",
    }
    assert not result.time_to_decision.HasField("expected_days")
    assert result.time_to_decision.remaining_users == 2000
    assert result.metrics[0].no_data_reason == "nobody was assigned yet"
    assert not result.groups[0].HasField("conversion_rate")
    assert result.verdict == "continue"
    assert result.method == ""
    assert "group control has no users yet" in result.warnings
    ended = await abtest.EndTest(results_pb2.EndTestRequest(test_id=test_id))
    assert ended.verdict == "stop"
    assert await abtest.EndTest(results_pb2.EndTestRequest(test_id=test_id)) == ended


async def test_a_fixed_horizon_names_no_winner_before_its_target(
    abtest: ABTestServiceStub, database: DatabaseAddresses
) -> None:
    request = a_test(target_sample_size=60, decision_method="fixed_horizon")
    test_id = (await abtest.CreateTest(request)).test_id
    groups = await assign(abtest, test_id, 80)
    later = datetime.now(UTC) + timedelta(hours=1)
    await add_events(database.admin, [(VARIANT_CAMPAIGN, user, later) for user in groups["variant"]])
    early = await abtest.AnalyzeTest(results_pb2.AnalyzeTestRequest(test_id=test_id))
    assert early.p_value < 1e-6
    assert (early.verdict, early.HasField("winner")) == ("continue", False)
    assert not (await abtest.GetTestStatus(progress_pb2.GetTestStatusRequest(test_id=test_id))).can_end
    await assign(abtest, test_id, 200)
    reached = await abtest.AnalyzeTest(results_pb2.AnalyzeTestRequest(test_id=test_id))
    assert (reached.verdict, reached.winner) == ("ship", "variant")
    assert any("were assigned after every group had its target" in text for text in reached.warnings)


async def test_history_comes_in_pages_the_newest_first(abtest: ABTestServiceStub) -> None:
    created = [(await abtest.CreateTest(a_test(test_name=f"t{number}"))).test_id for number in range(5)]
    seen: list[str] = []
    token = ""
    for _ in range(3):
        page = await abtest.ListTestHistory(history_pb2.ListTestHistoryRequest(limit=2, page_token=token))
        seen += [test.test_id for test in page.tests]
        token = page.next_page_token
    assert seen == created[::-1]
    assert token == ""
    assert len((await abtest.ListTestHistory(history_pb2.ListTestHistoryRequest())).tests) == 5


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_a_limit_out_of_range_is_refused(abtest: ABTestServiceStub, limit: int) -> None:
    code, _, fields = await refusal(abtest.ListTestHistory(history_pb2.ListTestHistoryRequest(limit=limit)))
    assert (code, set(fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {"limit"})


@pytest.mark.parametrize(
    "token",
    [
        *("%%%", "eyJhIjoxfQ", "eyJjcmVhdGVkX2F0IjoieCIsInRlc3RfaWQiOiJ4In0"),
        encode_page_token({"created_at": "2026-01-01T00:00:00+00:00", "test_id": "a\0"}),
        encode_page_token({"created_at": "0001-01-01T00:00:00+23:59", "test_id": "a"}),
        encode_page_token({"created_at": "9999-12-31T23:59:59-23:59", "test_id": "a"}),
    ],
)
async def test_a_foreign_page_token_is_refused(abtest: ABTestServiceStub, token: str) -> None:
    code, _, fields = await refusal(
        abtest.ListTestHistory(history_pb2.ListTestHistoryRequest(page_token=token))
    )
    assert (code, set(fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {"page_token"})
