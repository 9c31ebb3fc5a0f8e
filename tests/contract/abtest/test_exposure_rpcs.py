"""Exposures over the wire: kept once, refused one by one, and bounded."""

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from gen.campaigns.abtest.v1 import exposures_pb2
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from tests.contract.abtest.enrolment_stand import USERS, assign, create, refused


def an_exposure(
    test_id: str,
    user_id: str,
    **fields: Any,  # noqa: ANN401 (a message's fields)
) -> exposures_pb2.Exposure:
    values: dict[str, Any] = {"test_id": test_id, "user_id": user_id, "source": "ios_app"}
    return exposures_pb2.Exposure(**(values | fields))


async def record(
    abtest: ABTestServiceStub, *exposures: exposures_pb2.Exposure
) -> exposures_pb2.RecordExposuresResponse:
    return await abtest.RecordExposures(exposures_pb2.RecordExposuresRequest(exposures=exposures))


async def test_exposures_are_kept_once_per_source_and_user(abtest: ABTestServiceStub) -> None:
    test_id = await create(abtest)
    answers = await assign(abtest, test_id)
    batch = [an_exposure(test_id, user) for user in USERS[:30]]
    batch += [an_exposure(test_id, user, source="mail") for user in USERS[:3]]
    first = await record(abtest, *batch, batch[0])
    assert (first.accepted_count, first.duplicate_count, len(first.rejections)) == (33, 1, 0)
    again = await record(abtest, *batch)
    assert (again.accepted_count, again.duplicate_count) == (0, 33)
    listed = await abtest.ListExposures(exposures_pb2.ListExposuresRequest(test_id=test_id))
    assert [source.source for source in listed.sources] == ["ios_app", "mail"]
    app = listed.sources[0]
    assert [group.group for group in app.groups] == ["control", "variant"]
    for group in app.groups:
        of_group = [user for user in USERS if answers[user].assigned_group == group.group]
        exposed = [user for user in USERS[:30] if user in of_group]
        assert (group.users, group.assigned_users) == (len(exposed), len(of_group))
        assert group.exposure_rate == len(exposed) / len(of_group)
    assert 0.0 < app.sample_ratio_p_value <= 1.0


async def test_one_wrong_exposure_keeps_no_other_from_being_kept(abtest: ABTestServiceStub) -> None:
    test_id = await create(abtest)
    answers = await assign(abtest, test_id, ["a", "b"])
    shown = answers["a"].assigned_group
    other = "variant" if shown == "control" else "control"
    later = datetime.now(UTC) + timedelta(hours=1)
    result = await record(
        abtest,
        an_exposure(test_id, "a", group=shown),
        an_exposure(test_id, "a", group=other, source="mail"),
        an_exposure("nobody", "a"),
        an_exposure(test_id, "never"),
        an_exposure(test_id, "b", exposure_time=later),
        an_exposure(test_id, "b", exposure_time=datetime(2020, 1, 1, tzinfo=UTC)),
    )
    assert (result.accepted_count, result.duplicate_count) == (1, 0)
    assert [(each.index, each.field, each.reason) for each in result.rejections] == [
        (1, "group", "EXPOSURE_GROUP_MISMATCH"),
        (2, "test_id", "TEST_UNKNOWN"),
        (3, "user_id", "NOT_ASSIGNED"),
        (4, "exposure_time", "TIME_OUT_OF_RANGE"),
        (5, "exposure_time", "TIME_OUT_OF_RANGE"),
    ]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"test_id": ""}, "exposures[1].test_id"),
        ({"user_id": ""}, "exposures[1].user_id"),
        ({"source": ""}, "exposures[1].source"),
        ({"source": "iOS App"}, "exposures[1].source"),
        ({"source": "x" * 65}, "exposures[1].source"),
        ({"source": "app\n"}, "exposures[1].source"),
    ],
)
async def test_a_malformed_exposure_fails_the_request(
    abtest: ABTestServiceStub, fields: dict[str, str], field: str
) -> None:
    test_id = await create(abtest)
    await assign(abtest, test_id, ["a"])
    wrong = an_exposure(**({"test_id": test_id, "user_id": "a"} | fields))
    code, _, found = await refused(record(abtest, an_exposure(test_id, "a"), wrong))
    assert (code, found) == (grpc.StatusCode.INVALID_ARGUMENT, {field})
    listed = await abtest.ListExposures(exposures_pb2.ListExposuresRequest(test_id=test_id))
    assert not listed.sources


async def test_exposures_come_in_batches_of_1_to_1000(abtest: ABTestServiceStub) -> None:
    for batch in ([], [an_exposure("t", "a")] * 1001):
        code, _, fields = await refused(record(abtest, *batch))
        assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, {"exposures"})


async def test_exposures_of_an_unknown_test_are_not_found(abtest: ABTestServiceStub) -> None:
    request = exposures_pb2.ListExposuresRequest(test_id="nobody")
    assert (await refused(abtest.ListExposures(request)))[:2] == (grpc.StatusCode.NOT_FOUND, "TEST_UNKNOWN")
