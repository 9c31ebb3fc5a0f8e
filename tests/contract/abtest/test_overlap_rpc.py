"""Tests of a campaign side by side, and the users they share."""

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1 import assignments_pb2, results_pb2
from gen.campaigns.abtest.v1 import overlaps_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from tests.abtest_factories import (
    CONTROL_CAMPAIGN,
    VARIANT_CAMPAIGN,
    a_test,
    add_campaigns,
    add_events,
    refusal,
    running_server,
)

START = datetime(2026, 3, 1, 9, tzinfo=UTC)


async def enrol(stub: ABTestServiceStub, test_id: str, users: range) -> list[assignments_pb2.UserAssignment]:
    request = assignments_pb2.AssignUsersRequest(test_id=test_id, user_ids=[f"u{each}" for each in users])
    return list((await stub.AssignUsers(request)).assignments)


async def compare(stub: ABTestServiceStub, **fields: Any) -> pb.ListOverlappingTestsResponse:  # noqa: ANN401
    return await stub.ListOverlappingTests(pb.ListOverlappingTestsRequest(**fields))


async def test_tests_of_a_campaign_are_shown_with_their_results_and_shared_users(
    database: DatabaseAddresses,
) -> None:
    await add_campaigns(database.admin, (CONTROL_CAMPAIGN, VARIANT_CAMPAIGN, "third"))
    clock = [START]
    async with running_server(database.abtest, now=lambda: clock[0]) as stub:
        first = (await stub.CreateTest(a_test(hash_seed="one", test_name="first"))).test_id
        enrolled = await enrol(stub, first, range(300))
        clock[0] += timedelta(days=1)
        await add_events(
            database.admin,
            [
                (CONTROL_CAMPAIGN, each.user_id, clock[0])
                for each in enrolled
                if each.assigned_group == "control"
            ][:80],
        )
        second = (
            await stub.CreateTest(a_test(hash_seed="two", control_campaign_id="third", test_name="second"))
        ).test_id
        others = await enrol(stub, second, range(200, 400))
        clock[0] += timedelta(days=1)
        await stub.EndTest(results_pb2.EndTestRequest(test_id=first))
        view = await compare(stub, campaign_id=VARIANT_CAMPAIGN)

    assert [test.test_name for test in view.tests] == ["second", "first"]
    running, ended = view.tests
    assert (running.status, ended.status) == ("running", "ended")
    assert (ended.verdict, ended.primary_metric, ended.decision_method) == (
        "stop",
        "conversion_rate",
        "anytime",
    )
    assert ended.winner == "control"
    assert not any(running.HasField(name) for name in ("verdict", "winner", "end_time"))
    assert not any(group.HasField("conversions") for group in running.groups)
    control, variant = ended.groups
    assert (control.conversions, variant.conversions) == (80, 0)
    assert control.users + variant.users == 300
    assert control.conversion_rate == pytest.approx(80 / control.users)
    assert control.conversion_rate_interval.lower < control.conversion_rate
    assert not control.HasField("relative_lift")
    assert variant.relative_lift == -1.0

    (overlap,) = view.overlaps
    assert (overlap.first_test_id, overlap.second_test_id) == (first, second)
    assert list(overlap.shared_campaign_ids) == [VARIANT_CAMPAIGN]
    assert overlap.start_time.ToDatetime(UTC) == START + timedelta(days=1)
    assert overlap.end_time.ToDatetime(UTC) == START + timedelta(days=2)
    assert overlap.shared_users == 100
    assert overlap.share_of_first == pytest.approx(1 / 3)
    assert overlap.share_of_second == 0.5
    cells = {(cell.first_group, cell.second_group): cell.users for cell in overlap.cells}
    groups = {each.user_id: each.assigned_group for each in enrolled}
    assert cells[("control", "variant")] == sum(
        groups.get(each.user_id) == "control" and each.assigned_group == "variant" for each in others
    )
    assert overlap.independence_p_value > 0.001
    assert "100 users are in both tests" in overlap.warnings[0]


async def test_the_same_seed_in_two_tests_is_told(abtest: ABTestServiceStub) -> None:
    first, second = [
        (await abtest.CreateTest(a_test(hash_seed="same", test_name=name))).test_id for name in ("a", "b")
    ]
    for test_id in (first, second):
        await enrol(abtest, test_id, range(100))
    view = await compare(abtest, test_id=first)
    assert {test.test_id for test in view.tests} == {first, second}
    (overlap,) = view.overlaps
    assert overlap.association == pytest.approx(1.0)
    assert "hash_seed" in overlap.warnings[0]


async def test_only_the_newest_tests_are_compared_and_it_is_told_that_there_are_more(
    abtest: ABTestServiceStub,
) -> None:
    names = ["a", "b", "c"]
    for name in names:
        await abtest.CreateTest(a_test(test_name=name))
    view = await compare(abtest, campaign_id=CONTROL_CAMPAIGN, limit=2)
    assert [test.test_name for test in view.tests] == ["c", "b"]
    assert view.more
    assert len(view.overlaps) == 1
    assert not (await compare(abtest, campaign_id=CONTROL_CAMPAIGN)).more


async def test_a_draft_overlaps_with_nothing(abtest: ABTestServiceStub) -> None:
    await abtest.CreateTest(a_test(is_draft=True))
    await abtest.CreateTest(a_test())
    view = await compare(abtest, campaign_id=CONTROL_CAMPAIGN)
    assert [test.status for test in view.tests] == ["running", "draft"]
    assert not view.tests[1].HasField("start_time")
    assert not view.overlaps


async def test_what_cannot_be_compared_is_refused(abtest: ABTestServiceStub) -> None:
    for fields, code, named in (
        ({}, grpc.StatusCode.INVALID_ARGUMENT, "campaign_id"),
        ({"campaign_id": "a", "test_id": "b"}, grpc.StatusCode.INVALID_ARGUMENT, "test_id"),
        ({"campaign_id": "a", "limit": 1}, grpc.StatusCode.INVALID_ARGUMENT, "limit"),
        ({"campaign_id": "a" * 129}, grpc.StatusCode.INVALID_ARGUMENT, "campaign_id"),
        ({"campaign_id": "unknown"}, grpc.StatusCode.NOT_FOUND, "campaign_id"),
        ({"test_id": "unknown"}, grpc.StatusCode.NOT_FOUND, "test_id"),
    ):
        got, _, violations = await refusal(compare(abtest, **fields))
        assert (got, set(violations)) == (code, {named})
