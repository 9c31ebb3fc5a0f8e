"""Enrolment over a real database: parts of a group, segments, epochs and exposures, at the same time."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import grpc

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1 import assignments_pb2, exposures_pb2, tests_pb2
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from services.abtest.domain.assignment import bucket_shares
from services.abtest.domain.exposures import Exposure
from services.abtest.operations.exposures import ExposureOperations
from services.common.database import Database
from tests.abtest_factories import CONTROL_CAMPAIGN, VARIANT_CAMPAIGN, add_campaigns, running_server


def a_test(
    *,
    exclusion_share: float | None = None,
    weights: Sequence[float] = (),
    coverage: float = 1.0,
    include_segments: Sequence[str] = (),
) -> tests_pb2.CreateTestRequest:
    return tests_pb2.CreateTestRequest(
        test_name="t",
        control_campaign_id=CONTROL_CAMPAIGN,
        variant_campaign_id=VARIANT_CAMPAIGN,
        target_sample_size=1000,
        exclusion_group="g" if exclusion_share is not None else "",
        exclusion_share=exclusion_share,
        traffic_weights=weights,
        coverage=coverage,
        hash_seed="seed",
        targeting=tests_pb2.Targeting(include_segments=include_segments),
    )


async def assign(abtest: ABTestServiceStub, test_id: str, users: Sequence[str]) -> list[str]:
    answer = await abtest.AssignUsers(assignments_pb2.AssignUsersRequest(test_id=test_id, user_ids=users))
    return [each.assigned_group for each in answer.assignments]


async def test_simultaneous_tests_get_disjoint_parts_or_none(
    abtest: ABTestServiceStub, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    answers = await asyncio.gather(
        *(abtest.CreateTest(a_test(exclusion_share=0.3)) for _ in range(6)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert {error.code() for error in refused} == {grpc.StatusCode.FAILED_PRECONDITION}
    rows = await admin.fetch("select exclusion_firsts, exclusion_ends from abtest.ab_test_enrolment_rules")
    buckets = Counter(
        bucket
        for row in rows
        for first, end in zip(row["exclusion_firsts"], row["exclusion_ends"], strict=True)
        for bucket in range(first, end)
    )
    assert (len(refused), len(rows), len(buckets)) == (3, 3, 9000)
    assert set(buckets.values()) == {1}
    # Who was refused left nothing behind.
    assert await admin.fetchval("select count(*) from abtest.ab_tests") == 3


async def test_segments_are_stamped_as_they_were_at_the_assignment(
    abtest: ABTestServiceStub, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await admin.execute("insert into analytics.segment_sets (segments) values ('{gold}'), ('{gold,new}')")
    await admin.execute(
        "insert into analytics.users (user_id, segment_set_id)"
        " select 'a', segment_set_id from analytics.segment_sets where segments = '{gold}'"
    )
    await admin.execute("insert into analytics.users (user_id) values ('b')")
    test_id = (await abtest.CreateTest(a_test())).test_id
    await assign(abtest, test_id, ["a", "b", "c"])
    await admin.execute(
        "update analytics.users set segment_set_id ="
        " (select segment_set_id from analytics.segment_sets where segments = '{gold,new}')"
    )
    await assign(abtest, test_id, ["a", "b", "c"])
    rows = await admin.fetch(
        "select a.user_id, s.segments from abtest.ab_test_assignments a"
        " left join analytics_v1.segment_sets s using (segment_set_id) order by a.user_id"
    )
    assert [tuple(row) for row in rows] == [("a", ["gold"]), ("b", None), ("c", None)]


async def test_propensities_are_what_the_buckets_give(
    abtest: ABTestServiceStub, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    weights, coverage = (0.995, 0.005), 0.01
    test_id = (await abtest.CreateTest(a_test(weights=weights, coverage=coverage))).test_id
    for start in range(0, 4000, 1000):
        await assign(abtest, test_id, [f"user-{number}" for number in range(start, start + 1000)])
    shares = bucket_shares(weights, coverage)
    rows = await admin.fetch("select distinct group_index, propensity from abtest.ab_test_assignments")
    assert {(row["group_index"], row["propensity"]) for row in rows} <= set(enumerate(shares))
    assert rows
    assert shares == (100 / 101, 1 / 101)


async def test_each_assignment_keeps_its_epoch_and_propensity(
    abtest: ABTestServiceStub, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    test_id = (await abtest.CreateTest(a_test())).test_id
    early, late = [f"early-{n}" for n in range(40)], [f"late-{n}" for n in range(40)]
    before = await assign(abtest, test_id, early)
    await abtest.UpdateTest(tests_pb2.UpdateTestRequest(test_id=test_id, traffic_weights=[0.1, 0.9]))
    assert await assign(abtest, test_id, early) == before
    await assign(abtest, test_id, late)
    rows = await admin.fetch(
        "select split_part(user_id, '-', 1) as cohort, epoch, group_index, propensity, count(*)::int as users"
        " from abtest.ab_test_assignments group by 1, 2, 3, 4"
    )
    assert {(row["cohort"], row["epoch"]) for row in rows} == {("early", 1), ("late", 2)}
    for row in rows:
        weights = (0.5, 0.5) if row["epoch"] == 1 else (0.1, 0.9)
        assert row["propensity"] == weights[row["group_index"]]
    assert sum(row["users"] for row in rows) == 80


async def test_exposure_counters_equal_a_recount_whoever_sends_what_at_the_same_time(
    abtest: ABTestServiceStub, admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    test_id = (await abtest.CreateTest(a_test())).test_id
    users = [f"user-{number}" for number in range(60)]
    await assign(abtest, test_id, users)

    def batch(order: Sequence[str]) -> exposures_pb2.RecordExposuresRequest:
        return exposures_pb2.RecordExposuresRequest(
            exposures=[
                exposures_pb2.Exposure(test_id=test_id, user_id=user, source=source)
                for user in order
                for source in ("app", "mail")
            ]
        )

    async with running_server(database.abtest) as second:
        answers = await asyncio.gather(
            *(
                stub.RecordExposures(batch(users[start:] + users[:start]))
                for start in range(0, 60, 10)
                for stub in (abtest, second)
            )
        )
    assert sum(answer.accepted_count for answer in answers) == 120
    assert sum(answer.duplicate_count for answer in answers) == 11 * 120
    differences = await admin.fetch(
        "select from (select source, group_index, sum(users) as users"
        "  from abtest.ab_test_exposure_counters group by 1, 2) c"
        " full join (select e.source, a.group_index, count(*) as users from abtest.ab_test_exposures e"
        "  join abtest.ab_test_assignments a using (test_id, user_id) group by 1, 2) r"
        " using (source, group_index) where c.users is distinct from r.users"
    )
    assert differences == []
    listed = await abtest.ListExposures(exposures_pb2.ListExposuresRequest(test_id=test_id))
    assert [sum(group.users for group in source.groups) for source in listed.sources] == [60, 60]


async def test_the_earliest_time_stays_whatever_order_exposures_come_in(
    abtest: ABTestServiceStub, admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    test_id = (await abtest.CreateTest(a_test())).test_id
    await assign(abtest, test_id, ["a"])
    assigned_at = await admin.fetchval("select assigned_at from abtest.ab_test_assignments")
    now = datetime.now(UTC) + timedelta(days=2)
    times = [
        assigned_at + timedelta(days=1),
        assigned_at + timedelta(hours=1),
        assigned_at + timedelta(hours=5),
    ]
    opened = await Database.open(database.abtest, application_name="test", max_size=1)
    try:
        operations = ExposureOperations(opened, now=lambda: now, slot=0)
        recorded = [
            await operations.record_exposures(
                [Exposure(test_id=test_id, user_id="a", source="app", group=None, exposed_at=time)]
            )
            for time in times
        ]
    finally:
        await opened.close()
    assert [(each.accepted, each.duplicates) for each in recorded] == [(1, 0), (0, 1), (0, 1)]
    assert await admin.fetchval("select exposed_at from abtest.ab_test_exposures") == times[1]
    assert await admin.fetchval("select sum(users) from abtest.ab_test_exposure_counters") == 1


async def test_nobody_is_enrolled_once_the_end_time_has_come(database: DatabaseAddresses) -> None:
    await add_campaigns(database.admin)
    clock = [datetime(2026, 5, 1, tzinfo=UTC)]
    async with running_server(database.abtest, now=lambda: clock[0]) as abtest:
        request = a_test()
        request.end_time.FromDatetime(clock[0] + timedelta(days=1))
        test_id = (await abtest.CreateTest(request)).test_id
        assert all(await assign(abtest, test_id, ["a", "b"]))
        clock[0] += timedelta(days=1)
        answer = await abtest.AssignUsers(
            assignments_pb2.AssignUsersRequest(test_id=test_id, user_ids=["a", "c"])
        )
    assert [(bool(each.assigned_group), each.reason) for each in answer.assignments] == [
        (True, ""),
        (False, "ended"),
    ]
