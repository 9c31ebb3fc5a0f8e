"""How a running test changes: weights, settings, and what its verdict rests on."""

from typing import Any

import grpc
import pytest

from gen.campaigns.abtest.v1 import (
    assignments_pb2,
    bandit_pb2,
    tests_pb2,
)
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from services.common.wire import datetime_to_timestamp
from tests.abtest_factories import refusal
from tests.contract.abtest.change_log import changes_of, differences, reason_for
from tests.contract.abtest.lifecycle_stand import HOUR, NOW, Clock, create


async def test_new_weights_open_an_epoch_and_keep_the_old_one(stub: ABTestServiceStub, clock: Clock) -> None:
    test_id = await create(stub)
    clock.now += HOUR
    updated = await stub.UpdateTest(
        tests_pb2.UpdateTestRequest(
            test_id=test_id, traffic_weights=[0.1, 0.9], actor="ada", comment="ramp up"
        )
    )
    assert updated.test.weight_epoch == 2
    assert [group.traffic_weight for group in updated.test.groups] == [0.1, 0.9]
    same = await stub.UpdateTest(tests_pb2.UpdateTestRequest(test_id=test_id, traffic_weights=[0.1, 0.9]))
    assert same.test.weight_epoch == 2
    answer = await stub.GetTest(tests_pb2.GetTestRequest(test_id=test_id))
    assert [
        (epoch.weight_epoch, list(epoch.traffic_weights), epoch.start_time) for epoch in answer.weight_epochs
    ] == [
        (1, [0.5, 0.5], datetime_to_timestamp(NOW)),
        (2, [0.1, 0.9], datetime_to_timestamp(NOW + HOUR)),
    ]
    user = await stub.AssignUser(assignments_pb2.AssignUserRequest(test_id=test_id, user_id="u"))
    assert user.weight_epoch == 2
    assert user.propensity == pytest.approx({"control": 0.1, "variant": 0.9}[user.assigned_group])
    log = await changes_of(stub, test_id)
    assert [change.action for change in log] == ["create", "update"]  # the same weights again are no change
    assert differences(log[1]) == {"traffic_weights": ([0.5, 0.5], [0.1, 0.9])}
    assert (log[1].actor, log[1].comment) == ("ada", "ramp up")


async def test_a_running_test_keeps_what_its_verdict_rests_on(stub: ABTestServiceStub) -> None:
    fixed: dict[str, Any] = {
        "start_time": datetime_to_timestamp(NOW + HOUR),
        "target_sample_size": 500,
        "minimum_detectable_effect": 0.3,
        "confidence_level": 0.9,
    }
    test_id = await create(stub)
    before = await stub.GetTest(tests_pb2.GetTestRequest(test_id=test_id))
    request = tests_pb2.UpdateTestRequest(test_id=test_id, test_name="other", **fixed)
    code, reason, fields = await refusal(stub.UpdateTest(request))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TEST_FIELD_FIXED")
    assert set(fields) == set(fixed)
    assert await stub.GetTest(tests_pb2.GetTestRequest(test_id=test_id)) == before
    draft = await create(stub, is_draft=True)
    changed = (await stub.UpdateTest(tests_pb2.UpdateTestRequest(test_id=draft, **fixed))).test
    assert (changed.target_sample_size, changed.minimum_detectable_effect) == (500, 0.3)
    assert (changed.confidence_level, changed.start_time) == (0.9, datetime_to_timestamp(NOW + HOUR))


async def test_settings_of_a_running_test_change_with_their_differences(stub: ABTestServiceStub) -> None:
    test_id = await create(stub, hypothesis="first")
    changed = (
        await stub.UpdateTest(
            tests_pb2.UpdateTestRequest(
                test_id=test_id,
                test_name="renamed",
                hypothesis="",
                coverage=0.5,
                targeting=tests_pb2.Targeting(include_segments=["gold", "silver"]),
                end_time=datetime_to_timestamp(NOW + HOUR),
                planned_duration_days=7,
            )
        )
    ).test
    assert (changed.test_name, changed.hypothesis, changed.coverage) == ("renamed", "", 0.5)
    assert list(changed.targeting.include_segments) == ["gold", "silver"]
    assert await reason_for(stub, test_id) == "targeting"
    everybody = tests_pb2.UpdateTestRequest(
        test_id=test_id, targeting=tests_pb2.Targeting(), clear_end_time=True, coverage=1.0
    )
    cleared = (await stub.UpdateTest(everybody)).test
    assert not cleared.HasField("targeting")
    assert not cleared.HasField("end_time")
    assert not await reason_for(stub, test_id)
    log = await changes_of(stub, test_id)
    assert differences(log[1]) == {
        "test_name": ("Offer Amount A/B Test", "renamed"),
        "hypothesis": ("first", ""),
        "coverage": (1.0, 0.5),
        "include_segments": ([], ["gold", "silver"]),
        "end_time": (None, (NOW + HOUR).isoformat()),
        "planned_duration_days": (None, 7),
    }
    assert set(differences(log[2])) == {"coverage", "include_segments", "end_time"}


async def change_weights(
    stub: ABTestServiceStub,
    test_id: str,
    weights: tuple[float, ...] = (0.8, 0.2),
    coverage: float | None = None,
) -> tests_pb2.TestDefinition:
    request = tests_pb2.UpdateTestRequest(test_id=test_id, traffic_weights=weights, coverage=coverage)
    return (await stub.UpdateTest(request)).test


async def test_weights_stay_where_coverage_has_kept_users_out(stub: ABTestServiceStub, clock: Clock) -> None:
    """Those who were kept out and ask again would all land in the group that grew."""
    test_id = await create(stub, coverage=0.5)
    code, reason, fields = await refusal(change_weights(stub, test_id))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TEST_FIELD_FIXED")
    assert set(fields) == {"traffic_weights"}
    clock.now += HOUR
    await stub.UpdateTest(tests_pb2.UpdateTestRequest(test_id=test_id, coverage=1.0))
    assert (await refusal(change_weights(stub, test_id)))[1] == "TEST_FIELD_FIXED"

    # Before anybody could ask, anything may change; and once, where everybody was covered until then.
    draft = await create(stub, is_draft=True, coverage=0.5)
    assert (await change_weights(stub, draft, coverage=1.0)).coverage == 1
    await stub.StartTest(tests_pb2.StartTestRequest(test_id=draft))
    clock.now += HOUR
    assert (await change_weights(stub, draft, (0.5, 0.5), 0.5)).coverage == 0.5
    assert (await refusal(change_weights(stub, draft)))[1] == "TEST_FIELD_FIXED"


WRONG_CHANGES: list[tuple[dict[str, Any], set[str]]] = [
    ({"test_name": " "}, {"test_name"}),
    ({"hypothesis": "x" * 2001}, {"hypothesis"}),
    ({"traffic_weights": [0.5, 0.6]}, {"traffic_weights"}),
    ({"traffic_weights": [0.2, 0.3, 0.5]}, {"traffic_weights"}),
    ({"traffic_weights": [0.99985, 0.00015], "coverage": 0.1}, {"traffic_weights"}),
    ({"coverage": 0.0}, {"coverage"}),
    ({"target_sample_size": 1}, {"target_sample_size"}),
    ({"minimum_detectable_effect": 0.0}, {"minimum_detectable_effect"}),
    ({"confidence_level": 0.5}, {"confidence_level"}),
    ({"planned_duration_days": 367}, {"planned_duration_days"}),
    ({"end_time": datetime_to_timestamp(NOW)}, {"end_time"}),
    ({"end_time": datetime_to_timestamp(NOW + HOUR), "clear_end_time": True}, {"clear_end_time"}),
    ({"targeting": tests_pb2.Targeting(include_segments=[""])}, {"targeting.include_segments[0]"}),
]


async def test_a_wrong_change_is_named_and_nothing_changes(stub: ABTestServiceStub) -> None:
    test_id = await create(stub)
    before = await stub.GetTest(tests_pb2.GetTestRequest(test_id=test_id))
    for fields, violated in WRONG_CHANGES:
        request = tests_pb2.UpdateTestRequest(test_id=test_id, **fields)
        code, _, found = await refusal(stub.UpdateTest(request))
        assert (code, set(found)) == (grpc.StatusCode.INVALID_ARGUMENT, violated), fields
    assert await stub.GetTest(tests_pb2.GetTestRequest(test_id=test_id)) == before


async def test_a_bandits_weights_are_not_moved_by_hand(stub: ABTestServiceStub) -> None:
    test_id = await create(stub, bandit=bandit_pb2.BanditSettings())
    request = tests_pb2.UpdateTestRequest(test_id=test_id, traffic_weights=[0.4, 0.6])
    code, reason, fields = await refusal(stub.UpdateTest(request))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "BANDIT_OWNS_WEIGHTS")
    assert set(fields) == {"traffic_weights"}
    renamed = await stub.UpdateTest(tests_pb2.UpdateTestRequest(test_id=test_id, test_name="b"))
    assert renamed.test.test_name == "b"
