"""Who is enrolled, over the wire: targeting, exclusion groups, holdouts, states and batches."""

from typing import Any

import asyncpg
import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1 import assignments_pb2, exclusion_pb2, results_pb2, tests_pb2
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from services.abtest.domain.assignment import bucket_ranges, bucket_shares, choose_group
from services.abtest.domain.hashing import BUCKETS, hash_bucket
from tests.abtest_factories import VARIANT_CAMPAIGN, a_test, add_campaigns
from tests.contract.abtest.enrolment_stand import USERS, assign, create, refused


def enrolled(answers: dict[str, assignments_pb2.UserAssignment]) -> set[str]:
    return {user for user, answer in answers.items() if answer.assigned_group}


def reasons(answers: dict[str, assignments_pb2.UserAssignment]) -> set[str]:
    return {answer.reason for answer in answers.values() if answer.reason}


async def set_segments(admin_url: str, segments: dict[str, list[str]]) -> None:
    """Give users segments as the catalog would."""
    connection = await asyncpg.connect(admin_url)
    try:
        for user_id, names in segments.items():
            await connection.execute(
                "insert into analytics.segment_sets (segments) values ($1) on conflict do nothing", names
            )
            await connection.execute(
                "insert into analytics.users (user_id, segment_set_id) values ($1,"
                " (select segment_set_id from analytics.segment_sets where segments = $2))"
                " on conflict (user_id) do update set segment_set_id = excluded.segment_set_id",
                user_id,
                names,
            )
    finally:
        await connection.close()


async def test_a_targeted_test_enrols_its_segments_only(
    abtest: ABTestServiceStub, database: DatabaseAddresses
) -> None:
    await set_segments(database.admin, {"gold": ["gold"], "both": ["gold", "new"], "plain": ["silver"]})
    targeting = tests_pb2.Targeting(include_segments=["gold"], exclude_segments=["new"])
    test_id = await create(abtest, targeting=targeting)
    users = ["gold", "both", "plain", "unknown"]
    first = await assign(abtest, test_id, users)
    assert enrolled(first) == {"gold"}
    assert reasons(first) == {"targeting"}
    # Who has a group keeps it, and who had none gets one once the segments fit.
    await set_segments(database.admin, {"gold": ["silver"], "plain": ["gold"]})
    second = await assign(abtest, test_id, users)
    assert enrolled(second) == {"gold", "plain"}
    assert second["gold"] == first["gold"]


async def test_a_test_can_be_targeted_otherwise_and_nobody_loses_the_group(
    abtest: ABTestServiceStub, database: DatabaseAddresses
) -> None:
    await set_segments(database.admin, {"gold": ["gold"], "plain": ["silver"]})
    everybody = await create(abtest)
    first = await assign(abtest, everybody, ["plain"])
    silver = tests_pb2.Targeting(include_segments=["gold"], exclude_segments=["silver"])
    await abtest.UpdateTest(tests_pb2.UpdateTestRequest(test_id=everybody, targeting=silver))
    second = await assign(abtest, everybody, ["plain", "gold", "unknown"])
    assert enrolled(second) == {"plain", "gold"}
    assert second["plain"] == first["plain"]
    # Its part of the exclusion group, and its holdouts, stay as they are.
    excluding = await create(abtest, exclusion_group="banner", exclusion_share=0.5, targeting=silver)
    await abtest.UpdateTest(tests_pb2.UpdateTestRequest(test_id=excluding, targeting=tests_pb2.Targeting()))
    assert reasons(await assign(abtest, excluding)) == {"exclusion"}


async def test_tests_of_an_exclusion_group_share_no_user(abtest: ABTestServiceStub) -> None:
    first = await create(abtest, exclusion_group="banner", exclusion_share=0.6)
    second = await create(abtest, exclusion_group="banner", exclusion_share=0.4)
    answers = [await assign(abtest, test_id) for test_id in (first, second)]
    assert enrolled(answers[0]) | enrolled(answers[1]) == set(USERS)
    assert not enrolled(answers[0]) & enrolled(answers[1])
    assert reasons(answers[0]) == reasons(answers[1]) == {"exclusion"}
    listed = await abtest.ListExclusionGroups(exclusion_pb2.ListExclusionGroupsRequest())
    [group] = listed.exclusion_groups
    assert (group.exclusion_group, group.free_share) == ("banner", 0.0)
    assert [(test.test_id, test.share) for test in group.tests] == [(first, 0.6), (second, 0.4)]


async def test_a_full_exclusion_group_takes_no_test_until_one_ends(abtest: ABTestServiceStub) -> None:
    first = await create(abtest, exclusion_group="banner", exclusion_share=0.7)
    third = a_test(exclusion_group="banner", exclusion_share=0.31, request_id="third")
    assert await refused(abtest.CreateTest(third)) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "EXCLUSION_GROUP_FULL",
        {"exclusion_share"},
    )
    await abtest.EndTest(results_pb2.EndTestRequest(test_id=first))
    created = await abtest.CreateTest(third)
    assert created == await abtest.CreateTest(third)
    listed = await abtest.ListExclusionGroups(exclusion_pb2.ListExclusionGroupsRequest())
    [group] = listed.exclusion_groups
    assert [test.test_id for test in group.tests] == [created.test_id]
    assert group.free_share == pytest.approx(0.69)


async def test_a_holdout_keeps_its_users_out_of_every_test_while_it_lasts(abtest: ABTestServiceStub) -> None:
    test_id = await create(abtest)
    await assign(abtest, test_id, USERS[:20])
    request = exclusion_pb2.CreateHoldoutRequest(holdout_id="2026", share=0.5, is_global=True)
    created = (await abtest.CreateHoldout(request)).holdout
    assert (created.holdout_id, created.share, created.is_global) == ("2026", 0.5, True)
    assert (await abtest.CreateHoldout(request)).holdout == created
    answers = await assign(abtest, test_id)
    # Who had a group before keeps it; of the others about half are held out (30 of 40 would be 1 in 1,000).
    assert enrolled(answers) >= set(USERS[:20])
    held = {user for user, answer in answers.items() if answer.reason == "holdout"}
    assert 10 <= len(held) <= 30
    another = await create(abtest)
    assert held <= {
        user for user, each in (await assign(abtest, another)).items() if each.reason == "holdout"
    }
    ended = (await abtest.EndHoldout(exclusion_pb2.EndHoldoutRequest(holdout_id="2026"))).holdout
    assert ended.HasField("end_time")
    assert (await abtest.EndHoldout(exclusion_pb2.EndHoldoutRequest(holdout_id="2026"))).holdout == ended
    assert enrolled(await assign(abtest, test_id)) == set(USERS)
    listed = await abtest.ListHoldouts(exclusion_pb2.ListHoldoutsRequest())
    assert list(listed.holdouts) == [ended]


async def test_a_holdout_that_is_not_global_holds_for_tests_that_name_it(abtest: ABTestServiceStub) -> None:
    await abtest.CreateHoldout(exclusion_pb2.CreateHoldoutRequest(holdout_id="push", share=0.5))
    naming, other = await create(abtest, holdout_ids=["push"]), await create(abtest)
    assert reasons(await assign(abtest, naming)) == {"holdout"}
    assert enrolled(await assign(abtest, other)) == set(USERS)


async def test_holdouts_are_refused_with_the_field_at_fault(abtest: ABTestServiceStub) -> None:
    def holdout(**fields: Any) -> exclusion_pb2.CreateHoldoutRequest:  # noqa: ANN401 (a request's fields)
        values: dict[str, Any] = {"holdout_id": "h", "share": 0.1}
        return exclusion_pb2.CreateHoldoutRequest(**(values | fields))

    await abtest.CreateHoldout(holdout())
    conflict = (grpc.StatusCode.ALREADY_EXISTS, "HOLDOUT_CONFLICT", {"holdout_id"})
    assert await refused(abtest.CreateHoldout(holdout(share=0.2))) == conflict
    assert await refused(abtest.CreateHoldout(holdout(is_global=True))) == conflict
    for wrong, field in (
        ({"holdout_id": ""}, "holdout_id"),
        ({"holdout_id": "x" * 129}, "holdout_id"),
        ({"share": 0.0}, "share"),
        ({"share": 0.51}, "share"),
        ({"share": float("nan")}, "share"),
    ):
        code, _, fields = await refused(abtest.CreateHoldout(holdout(**wrong)))
        assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, {field})
    unknown = exclusion_pb2.EndHoldoutRequest(holdout_id="nobody")
    assert await refused(abtest.EndHoldout(unknown)) == (
        grpc.StatusCode.NOT_FOUND,
        "HOLDOUT_UNKNOWN",
        {"holdout_id"},
    )
    await abtest.EndHoldout(exclusion_pb2.EndHoldoutRequest(holdout_id="h"))
    assert await refused(abtest.CreateHoldout(holdout())) == conflict
    code, _, fields = await refused(abtest.EndHoldout(exclusion_pb2.EndHoldoutRequest()))
    assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, {"holdout_id"})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"holdout_ids": ["nobody"]},
            (grpc.StatusCode.NOT_FOUND, "HOLDOUT_UNKNOWN", {"holdout_ids"}),
        ),
        (
            {"exclusion_group": "g"},
            (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_REQUIRED", {"exclusion_share"}),
        ),
        (
            {"exclusion_share": 0.5},
            (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_REQUIRED", {"exclusion_group"}),
        ),
        (
            {"exclusion_group": "g", "exclusion_share": 1.01},
            (grpc.StatusCode.INVALID_ARGUMENT, "VALUE_OUT_OF_RANGE", {"exclusion_share"}),
        ),
        (
            {"targeting": tests_pb2.Targeting(include_segments=["a", "a"])},
            (grpc.StatusCode.INVALID_ARGUMENT, "DUPLICATE_ENTRY", {"targeting.include_segments[1]"}),
        ),
        (
            {"targeting": tests_pb2.Targeting(include_segments=["a"], exclude_segments=["a"])},
            (grpc.StatusCode.INVALID_ARGUMENT, "FIELDS_CONFLICT", {"targeting.exclude_segments"}),
        ),
        (
            {"targeting": tests_pb2.Targeting(exclude_segments=[""])},
            (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_REQUIRED", {"targeting.exclude_segments[0]"}),
        ),
        (
            {"targeting": tests_pb2.Targeting(exclude_segments=[str(n) for n in range(101)])},
            (grpc.StatusCode.INVALID_ARGUMENT, "VALUE_OUT_OF_RANGE", {"targeting.exclude_segments"}),
        ),
        (
            # The second group's range, [0.99985, 0.999865), holds none of 0, 0.0001, ..., 0.9999.
            {"traffic_weights": [0.99985, 0.00015], "coverage": 0.1},
            (grpc.StatusCode.INVALID_ARGUMENT, "WEIGHTS_UNREACHABLE", {"traffic_weights"}),
        ),
    ],
)
async def test_impossible_rules_create_nothing(
    abtest: ABTestServiceStub,
    database: DatabaseAddresses,
    fields: dict[str, Any],
    expected: tuple[grpc.StatusCode, str, set[str]],
) -> None:
    assert await refused(abtest.CreateTest(a_test(**fields))) == expected
    connection = await asyncpg.connect(database.admin)
    try:
        assert await connection.fetchval("select count(*) from abtest.ab_tests") == 0
        assert await connection.fetchval("select count(*) from abtest.ab_test_enrolment_rules") == 0
    finally:
        await connection.close()


async def test_a_batch_answers_in_order_and_as_single_calls_do(abtest: ABTestServiceStub) -> None:
    test_id = await create(abtest)
    users = ["b", "a", "b", "c", "a"]
    answer = await abtest.AssignUsers(assignments_pb2.AssignUsersRequest(test_id=test_id, user_ids=users))
    assert [each.user_id for each in answer.assignments] == users
    for each in answer.assignments:
        single = await abtest.AssignUser(
            assignments_pb2.AssignUserRequest(test_id=test_id, user_id=each.user_id)
        )
        for field in ("assigned_group", "campaign_id", "propensity", "weight_epoch", "assigned_time"):
            assert getattr(each, field) == getattr(single, field)
        assert (each.propensity, each.weight_epoch) == (0.5, 1)


@pytest.mark.parametrize(
    ("users", "field"),
    [
        ([], "user_ids"),
        (["a", ""], "user_ids[1]"),
        (["x" * 129], "user_ids[0]"),
        (["a"] * 1001, "user_ids"),
    ],
)
async def test_a_wrong_batch_assigns_nobody(
    abtest: ABTestServiceStub, database: DatabaseAddresses, users: list[str], field: str
) -> None:
    test_id = await create(abtest)
    request = assignments_pb2.AssignUsersRequest(test_id=test_id, user_ids=users)
    code, _, fields = await refused(abtest.AssignUsers(request))
    assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, {field})
    connection = await asyncpg.connect(database.admin)
    try:
        assert await connection.fetchval("select count(*) from abtest.ab_test_assignments") == 0
    finally:
        await connection.close()


async def test_a_batch_of_an_unknown_test_is_not_found(abtest: ABTestServiceStub) -> None:
    request = assignments_pb2.AssignUsersRequest(test_id="nobody", user_ids=["a"])
    assert await refused(abtest.AssignUsers(request)) == (
        grpc.StatusCode.NOT_FOUND,
        "TEST_UNKNOWN",
        {"test_id"},
    )


async def test_asking_for_a_group_never_assigns(
    abtest: ABTestServiceStub, database: DatabaseAddresses
) -> None:
    test_id = await create(abtest)
    request = assignments_pb2.GetUserTestGroupRequest(test_id=test_id, user_id="a")
    for _ in range(2):
        answer = await abtest.GetUserTestGroup(request)
        assert not answer.HasField("assigned_group")
        assert not answer.HasField("propensity")
    assigned = (await assign(abtest, test_id, ["a"]))["a"]
    kept = await abtest.GetUserTestGroup(request)
    assert (kept.assigned_group, kept.propensity, kept.weight_epoch, kept.assigned_time) == (
        assigned.assigned_group,
        assigned.propensity,
        assigned.weight_epoch,
        assigned.assigned_time,
    )


async def test_only_a_running_test_enrols(abtest: ABTestServiceStub) -> None:
    draft = await create(abtest, is_draft=True)
    assert reasons(await assign(abtest, draft)) == {"not_started"}
    await abtest.StartTest(tests_pb2.StartTestRequest(test_id=draft))
    assert enrolled(await assign(abtest, draft, USERS[:5])) == set(USERS[:5])
    await abtest.PauseTest(tests_pb2.PauseTestRequest(test_id=draft))
    paused = await assign(abtest, draft)
    assert enrolled(paused) == set(USERS[:5])
    assert reasons(paused) == {"paused"}
    await abtest.ResumeTest(tests_pb2.ResumeTestRequest(test_id=draft))
    assert enrolled(await assign(abtest, draft, USERS[:10])) == set(USERS[:10])
    await abtest.EndTest(results_pb2.EndTestRequest(test_id=draft))
    ended = await assign(abtest, draft)
    assert enrolled(ended) == set(USERS[:10])
    assert reasons(ended) == {"ended"}


@pytest.mark.parametrize(
    ("weights", "coverage"), [((1 / 3, 1 / 3, 1 / 3), 0.7), ((0.2, 0.3, 0.5), 0.2), ((0.1, 0.2, 0.7), 1.0)]
)
async def test_users_are_placed_as_growthbooks_sdks_place_them(
    abtest: ABTestServiceStub,
    database: DatabaseAddresses,
    weights: tuple[float, ...],
    coverage: float,
) -> None:
    await add_campaigns(database.admin, ["camp_second"])
    test_id = await create(
        abtest,
        variant_campaign_id="",
        variant_campaign_ids=[VARIANT_CAMPAIGN, "camp_second"],
        traffic_weights=weights,
        coverage=coverage,
        hash_seed="growthbook",
    )
    users = [f"user-{number}" for number in range(400)]
    answers = await assign(abtest, test_id, users)
    names = ["control", "variant_1", "variant_2"]
    ranges = bucket_ranges(weights, coverage)
    test = await abtest.GetTest(tests_pb2.GetTestRequest(test_id=test_id))
    [epoch] = test.weight_epochs
    shares = bucket_shares(weights, coverage)
    assert tuple(epoch.bucket_shares) == shares
    assert epoch.enrolled_share == pytest.approx(coverage, abs=3 / BUCKETS)
    for user in users:
        group = choose_group(hash_bucket("growthbook", user) / BUCKETS, ranges)
        assert answers[user].assigned_group == ("" if group is None else names[group])
        if group is not None:
            assert answers[user].propensity == shares[group]
