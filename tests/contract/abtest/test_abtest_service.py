"""ABTestService over the wire: answers and errors as the contract has them."""

from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from gen.campaigns.abtest.v1 import (
    assignments_pb2,
    history_pb2,
    planning_pb2,
    progress_pb2,
    results_pb2,
)
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from tests.abtest_factories import CONTROL_CAMPAIGN, VARIANT_CAMPAIGN, a_test, refusal

NAN = float("nan")


async def test_a_created_test_says_what_it_is(abtest: ABTestServiceStub) -> None:
    created = await abtest.CreateTest(a_test(minimum_detectable_effect=0.2, hash_seed=None))
    assert created.test_id
    assert created.is_active
    assert created.decision_method == "anytime"
    assert created.confidence_level == 0.95
    assert created.coverage == 1.0
    assert created.hash_seed == created.test_id
    assert created.minimum_detectable_effect == 0.2
    assert [(group.group, group.campaign_id, group.traffic_weight) for group in created.groups] == [
        ("control", CONTROL_CAMPAIGN, 0.5),
        ("variant", VARIANT_CAMPAIGN, 0.5),
    ]
    assert created.start_time.ToDatetime(UTC) <= datetime.now(UTC)


async def test_defaults_are_anytime_at_95_percent_for_everybody(abtest: ABTestServiceStub) -> None:
    request = a_test()
    request.ClearField("confidence_level")
    created = await abtest.CreateTest(request)
    assert (created.confidence_level, created.decision_method, created.coverage) == (0.95, "anytime", 1.0)
    assert not created.HasField("minimum_detectable_effect")


async def test_the_same_request_creates_one_test(abtest: ABTestServiceStub) -> None:
    first = await abtest.CreateTest(a_test(request_id="r1"))
    assert await abtest.CreateTest(a_test(request_id="r1")) == first
    other = await abtest.CreateTest(a_test(request_id="r2"))
    assert other.test_id != first.test_id
    code, reason, fields = await refusal(
        abtest.CreateTest(a_test(request_id="r1", traffic_weights=[0.4, 0.6]))
    )
    assert (code, reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_CONFLICT")
    assert set(fields) == {"request_id"}
    history = await abtest.ListTestHistory(history_pb2.ListTestHistoryRequest())
    assert len(history.tests) == 2


@pytest.mark.parametrize(
    ("fields", "violated"),
    [
        ({"test_name": ""}, {"test_name"}),
        ({"test_name": "x" * 257}, {"test_name"}),
        ({"test_name": "a\0b"}, {"test_name"}),
        ({"control_campaign_id": ""}, {"control_campaign_id"}),
        ({"variant_campaign_id": CONTROL_CAMPAIGN}, {"variant_campaign_id"}),
        ({"target_sample_size": 0}, {"target_sample_size"}),
        ({"target_sample_size": 1_000_000_001}, {"target_sample_size"}),
        ({"confidence_level": 0.79}, {"confidence_level"}),
        ({"confidence_level": 1.0}, {"confidence_level"}),
        ({"confidence_level": NAN}, {"confidence_level"}),
        ({"traffic_weights": [0.5, 0.4]}, {"traffic_weights"}),
        ({"traffic_weights": [1.0]}, {"traffic_weights"}),
        ({"traffic_weights": [0.0, 1.0]}, {"traffic_weights[0]"}),
        ({"traffic_weights": [NAN, 1.0]}, {"traffic_weights", "traffic_weights[0]"}),
        ({"traffic_weights": [1e308, 1e308]}, {"traffic_weights"}),
        ({"traffic_weights": [-0.5, 1.5]}, {"traffic_weights[0]"}),
        ({"coverage": 0.0}, {"coverage"}),
        ({"coverage": 1.1}, {"coverage"}),
        ({"coverage": NAN}, {"coverage"}),
        ({"hash_seed": "x" * 129}, {"hash_seed"}),
        ({"request_id": "x" * 129}, {"request_id"}),
        ({"minimum_detectable_effect": 0.0}, {"minimum_detectable_effect"}),
        ({"minimum_detectable_effect": -1.0}, {"minimum_detectable_effect"}),
        ({"minimum_detectable_effect": NAN}, {"minimum_detectable_effect"}),
        ({"decision_method": "peek"}, {"decision_method"}),
        ({"test_name": "", "coverage": 2.0}, {"test_name", "coverage"}),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_is_created(
    abtest: ABTestServiceStub, fields: dict[str, Any], violated: set[str]
) -> None:
    code, _, found = await refusal(abtest.CreateTest(a_test(**fields)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(found) == violated
    assert not (await abtest.ListTestHistory(history_pb2.ListTestHistoryRequest())).tests


async def test_an_unknown_campaign_is_named_and_nothing_is_created(abtest: ABTestServiceStub) -> None:
    code, reason, fields = await refusal(abtest.CreateTest(a_test(variant_campaign_id="nowhere")))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "CAMPAIGN_UNKNOWN")
    assert set(fields) == {"variant_campaign_id"}
    assert not (await abtest.ListTestHistory(history_pb2.ListTestHistoryRequest())).tests


async def test_a_user_keeps_the_group_of_the_first_call(abtest: ABTestServiceStub) -> None:
    created = await abtest.CreateTest(a_test(hash_seed="seed"))
    request = assignments_pb2.AssignUserRequest(test_id=created.test_id, user_id="a")
    answer = await abtest.AssignUser(request)
    # GrowthBook's vector ["seed", "a", 2, 0.0505]: the first half is control's.
    assert (answer.assigned_group, answer.campaign_id) == ("control", CONTROL_CAMPAIGN)
    assert not answer.HasField("reason")
    assert await abtest.AssignUser(request) == answer
    status = await abtest.GetTestStatus(progress_pb2.GetTestStatusRequest(test_id=created.test_id))
    assert [group.users for group in status.groups] == [1, 0]


async def test_asking_for_a_group_never_assigns(abtest: ABTestServiceStub) -> None:
    test_id = (await abtest.CreateTest(a_test())).test_id
    request = assignments_pb2.GetUserTestGroupRequest(test_id=test_id, user_id="u")
    assert not (await abtest.GetUserTestGroup(request)).HasField("assigned_group")
    assigned = await abtest.AssignUser(assignments_pb2.AssignUserRequest(test_id=test_id, user_id="u"))
    answer = await abtest.GetUserTestGroup(request)
    assert (answer.assigned_group, answer.campaign_id) == (assigned.assigned_group, assigned.campaign_id)
    assert answer.HasField("assigned_time")
    code, reason, _ = await refusal(
        abtest.GetUserTestGroup(assignments_pb2.GetUserTestGroupRequest(test_id="no", user_id="u"))
    )
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "TEST_UNKNOWN")


async def test_users_beyond_the_coverage_get_a_reason(abtest: ABTestServiceStub) -> None:
    # GrowthBook's vectors: ["seed", "b", 2, 0.2696] lies beyond control's covered quarter of [0, 0.5).
    created = await abtest.CreateTest(a_test(hash_seed="seed", coverage=0.5))
    answer = await abtest.AssignUser(assignments_pb2.AssignUserRequest(test_id=created.test_id, user_id="b"))
    assert not answer.HasField("assigned_group")
    assert answer.reason == "coverage"
    enrolled = await abtest.AssignUser(
        assignments_pb2.AssignUserRequest(test_id=created.test_id, user_id="a")
    )
    assert enrolled.assigned_group == "control"


@pytest.mark.parametrize("user_id", ["", "x" * 129, "a\0"])
async def test_user_ids_that_cannot_be_are_refused(abtest: ABTestServiceStub, user_id: str) -> None:
    test_id = (await abtest.CreateTest(a_test())).test_id
    for call in (
        abtest.AssignUser(assignments_pb2.AssignUserRequest(test_id=test_id, user_id=user_id)),
        abtest.GetUserTestGroup(assignments_pb2.GetUserTestGroupRequest(test_id=test_id, user_id=user_id)),
    ):
        code, _, fields = await refusal(call)
        assert (code, set(fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {"user_id"})


async def test_every_rpc_refuses_an_unknown_and_an_empty_test(abtest: ABTestServiceStub) -> None:
    for test_id, expected in (("no", grpc.StatusCode.NOT_FOUND), ("", grpc.StatusCode.INVALID_ARGUMENT)):
        for call in (
            abtest.AssignUser(assignments_pb2.AssignUserRequest(test_id=test_id, user_id="u")),
            abtest.GetTestStatus(progress_pb2.GetTestStatusRequest(test_id=test_id)),
            abtest.AnalyzeTest(results_pb2.AnalyzeTestRequest(test_id=test_id)),
            abtest.EndTest(results_pb2.EndTestRequest(test_id=test_id)),
        ):
            code, _, fields = await refusal(call)
            assert (code, set(fields)) == (expected, {"test_id"})


async def test_the_sample_size_names_its_formula(abtest: ABTestServiceStub) -> None:
    request = planning_pb2.EstimateSampleSizeRequest(
        baseline_conversion_rate=0.10, minimum_detectable_effect=0.2
    )
    answer = await abtest.EstimateSampleSize(request)
    assert answer.required_sample_size_per_variant == 3841
    assert answer.required_sample_size_total == 7682
    assert answer.formula == "two_proportion_pooled_z"


@pytest.mark.parametrize(
    ("fields", "violated"),
    [
        ({}, {"baseline_conversion_rate", "minimum_detectable_effect"}),
        ({"baseline_conversion_rate": 0.0, "minimum_detectable_effect": 0.1}, {"baseline_conversion_rate"}),
        ({"baseline_conversion_rate": 0.1, "minimum_detectable_effect": 0.0}, {"minimum_detectable_effect"}),
        ({"baseline_conversion_rate": 0.6, "minimum_detectable_effect": 1.0}, {"minimum_detectable_effect"}),
        ({"baseline_conversion_rate": 0.1, "minimum_detectable_effect": 1e-9}, {"minimum_detectable_effect"}),
        (
            {"baseline_conversion_rate": 0.1, "minimum_detectable_effect": 1e-17},
            {"minimum_detectable_effect"},
        ),
        ({"baseline_conversion_rate": NAN, "minimum_detectable_effect": 0.1}, {"baseline_conversion_rate"}),
        (
            {"baseline_conversion_rate": 5e-324, "minimum_detectable_effect": 0.5},
            {"minimum_detectable_effect"},
        ),
        (
            {"baseline_conversion_rate": 0.1, "minimum_detectable_effect": 0.1, "power": 0.5},
            {"power"},
        ),
        (
            {"baseline_conversion_rate": 0.1, "minimum_detectable_effect": 0.1, "confidence_level": 0.5},
            {"confidence_level"},
        ),
    ],
)
async def test_a_sample_size_of_nothing_possible_is_refused(
    abtest: ABTestServiceStub, fields: dict[str, Any], violated: set[str]
) -> None:
    code, _, found = await refusal(
        abtest.EstimateSampleSize(planning_pb2.EstimateSampleSizeRequest(**fields))
    )
    assert (code, set(found)) == (grpc.StatusCode.INVALID_ARGUMENT, violated)
