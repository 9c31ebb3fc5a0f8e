"""CreateTest and GetTest: every setting, every refusal, nothing half-created."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1 import bandit_pb2, history_pb2, metrics_pb2, tests_pb2
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from services.common.wire import datetime_to_timestamp
from tests.abtest_factories import CONTROL_CAMPAIGN, VARIANT_CAMPAIGN, a_test, add_campaigns, refusal

SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
LATER = SOON + timedelta(days=14)
GUARDRAIL = metrics_pb2.Metric(
    metric_name="unsubscribed",
    metric_type="custom_event",
    custom_event_name="unsubscribed",
    higher_is_better=False,
    non_inferiority_margin=0.05,
)


def many_variants(count: int, **fields: Any) -> tests_pb2.CreateTestRequest:  # noqa: ANN401
    names = [f"camp_{number}" for number in range(1, count + 1)]
    return a_test(variant_campaign_id="", variant_campaign_ids=names, **fields)


@pytest.fixture
async def campaigns(database: DatabaseAddresses, abtest: ABTestServiceStub) -> None:
    await add_campaigns(database.admin, [f"camp_{number}" for number in range(1, 11)])


async def kept_rows(admin_url: str) -> int:
    """Return the rows that tests have in any table."""
    connection = await asyncpg.connect(admin_url)
    try:
        names = await connection.fetch(
            "select tablename from pg_tables where schemaname = 'abtest' and tablename like 'ab\\_test%'"
        )
        counts = [
            await connection.fetchval(f"select count(*) from abtest.{row['tablename']}") for row in names
        ]
    finally:
        await connection.close()
    return sum(counts)


async def test_everything_that_is_asked_for_is_told_again(abtest: ABTestServiceStub) -> None:
    request = a_test(
        hypothesis="A larger offer converts better",
        traffic_weights=[0.3, 0.7],
        coverage=0.5,
        hash_seed="seed",
        minimum_detectable_effect=0.1,
        decision_method="group_sequential",
        planned_looks=7,
        planned_duration_days=28,
        primary_metric=metrics_pb2.Metric(
            metric_type="revenue_per_user", window_hours=72, winsorize_quantile=0.99, covariate_days=28
        ),
        secondary_metrics=[
            metrics_pb2.Metric(metric_type="ratio", numerator="clicks", denominator="impressions")
        ],
        guardrail_metrics=[GUARDRAIL],
        targeting=tests_pb2.Targeting(include_segments=["gold"], exclude_segments=["staff"]),
        exclusion_group="home screen",
        exclusion_share=0.25,
        start_time=datetime_to_timestamp(SOON),
        end_time=datetime_to_timestamp(LATER),
        actor="ada",
    )
    created = await abtest.CreateTest(request)
    test = (await abtest.GetTest(tests_pb2.GetTestRequest(test_id=created.test_id))).test
    assert test == created.definition
    assert (created.is_active, test.status) == (False, "scheduled")
    for field in (
        *("test_name", "hypothesis", "coverage", "hash_seed", "minimum_detectable_effect", "decision_method"),
        *("planned_looks", "planned_duration_days", "targeting", "exclusion_group", "exclusion_share"),
        *("target_sample_size", "confidence_level", "start_time", "end_time"),
    ):
        assert getattr(test, field) == getattr(request, field), field
    assert [group.traffic_weight for group in test.groups] == [0.3, 0.7]
    assert test.primary_metric.metric_name == "revenue_per_user"
    assert test.primary_metric.window_hours == 72
    assert (test.primary_metric.winsorize_quantile, test.primary_metric.covariate_days) == (0.99, 28)
    assert [(metric.metric_name, metric.numerator) for metric in test.secondary_metrics] == [
        ("ctr", "clicks")
    ]
    assert list(test.guardrail_metrics) == [GUARDRAIL]


async def test_a_test_says_its_defaults(abtest: ABTestServiceStub) -> None:
    created = await abtest.CreateTest(a_test())
    answer = await abtest.GetTest(tests_pb2.GetTestRequest(test_id=created.test_id))
    test = answer.test
    assert (test.status, test.is_active, test.weight_epoch) == ("running", True, 1)
    assert (test.primary_metric.metric_type, test.primary_metric.metric_name) == (
        "conversion",
        "conversion_rate",
    )
    for field in ("planned_looks", "targeting", "bandit", "end_time", "planned_duration_days"):
        assert not test.HasField(field), field
    assert [(epoch.weight_epoch, list(epoch.traffic_weights)) for epoch in answer.weight_epochs] == [
        (1, [0.5, 0.5])
    ]


@pytest.mark.usefixtures("campaigns")
async def test_several_variants_are_numbered(abtest: ABTestServiceStub) -> None:
    created = await abtest.CreateTest(many_variants(3))
    assert [(group.group, group.campaign_id, group.traffic_weight) for group in created.groups] == [
        ("control", CONTROL_CAMPAIGN, 0.25),
        ("variant_1", "camp_1", 0.25),
        ("variant_2", "camp_2", 0.25),
        ("variant_3", "camp_3", 0.25),
    ]
    one = await abtest.CreateTest(many_variants(1))
    assert [group.group for group in one.groups] == ["control", "variant"]
    nine = await abtest.CreateTest(many_variants(9))
    assert nine.groups[9].group == "variant_9"


@pytest.mark.usefixtures("campaigns")
async def test_a_bandit_is_kept_with_its_defaults(abtest: ABTestServiceStub) -> None:
    created = await abtest.CreateTest(
        many_variants(2, bandit=bandit_pb2.BanditSettings(exploration_floor=0.1))
    )
    bandit = created.definition.bandit
    assert bandit.exploration_floor == 0.1
    assert (bandit.stopping_gain, bandit.stopping_probability) == (0.01, 0.95)
    kept = await abtest.GetTest(tests_pb2.GetTestRequest(test_id=created.test_id))
    assert kept.test.bandit == bandit


WRONG_SETTINGS: list[tuple[dict[str, Any], set[str]]] = [
    ({"variant_campaign_id": ""}, {"variant_campaign_id"}),
    ({"variant_campaign_ids": [VARIANT_CAMPAIGN]}, {"variant_campaign_ids"}),
    (
        {"variant_campaign_id": "", "variant_campaign_ids": ["camp_1", "camp_1"]},
        {"variant_campaign_ids[1]"},
    ),
    (
        {"variant_campaign_id": "", "variant_campaign_ids": ["camp_1", CONTROL_CAMPAIGN, ""]},
        {"variant_campaign_ids[1]", "variant_campaign_ids[2]"},
    ),
    (
        {"variant_campaign_id": "", "variant_campaign_ids": [f"camp_{n}" for n in range(10)]},
        {"variant_campaign_ids"},
    ),
    (
        {
            "variant_campaign_id": "",
            "variant_campaign_ids": ["camp_1", "camp_2"],
            "traffic_weights": [0.5, 0.5],
        },
        {"traffic_weights"},
    ),
    ({"traffic_weights": [0.99985, 0.00015], "coverage": 0.1}, {"traffic_weights"}),
    ({"planned_looks": 5}, {"planned_looks"}),
    ({"planned_looks": 0, "decision_method": "group_sequential"}, {"planned_looks"}),
    ({"planned_looks": 101, "decision_method": "group_sequential"}, {"planned_looks"}),
    ({"planned_duration_days": 0}, {"planned_duration_days"}),
    ({"hypothesis": "x" * 2001}, {"hypothesis"}),
    ({"actor": "x" * 129}, {"actor"}),
    ({"exclusion_group": "g"}, {"exclusion_share"}),
    ({"exclusion_share": 0.5}, {"exclusion_group"}),
    ({"exclusion_group": "g", "exclusion_share": 1.5}, {"exclusion_share"}),
    (
        {"targeting": tests_pb2.Targeting(include_segments=["a"], exclude_segments=["a"])},
        {"targeting.exclude_segments"},
    ),
    ({"bandit": bandit_pb2.BanditSettings(exploration_floor=0.6)}, {"bandit.exploration_floor"}),
    (
        {"guardrail_metrics": [metrics_pb2.Metric(metric_type="revenue_per_user")]},
        {"guardrail_metrics[0].non_inferiority_margin"},
    ),
    (
        {"primary_metric": metrics_pb2.Metric(metric_type="ratio", numerator="clicks")},
        {"primary_metric.denominator"},
    ),
    (
        {"start_time": datetime_to_timestamp(LATER), "end_time": datetime_to_timestamp(SOON)},
        {"end_time"},
    ),
    (
        {"start_time": datetime_to_timestamp(SOON), "end_time": datetime_to_timestamp(SOON)},
        {"end_time"},
    ),
    ({"end_time": datetime_to_timestamp(datetime(2020, 1, 1, tzinfo=UTC))}, {"end_time"}),
    ({"end_time": datetime_to_timestamp(datetime(1, 1, 1, tzinfo=UTC))}, {"end_time"}),
]


@pytest.mark.usefixtures("campaigns")
async def test_a_wrong_setting_is_named_and_nothing_is_created(
    abtest: ABTestServiceStub, database: DatabaseAddresses
) -> None:
    for fields, violated in WRONG_SETTINGS:
        code, _, found = await refusal(abtest.CreateTest(a_test(**fields)))
        assert (code, set(found)) == (grpc.StatusCode.INVALID_ARGUMENT, violated), fields
    assert await kept_rows(database.admin) == 0


UNKNOWN: list[tuple[dict[str, Any], str, set[str]]] = [
    (
        {"variant_campaign_id": "", "variant_campaign_ids": ["camp_1", "nowhere", "never"]},
        "CAMPAIGN_UNKNOWN",
        {"variant_campaign_ids[1]", "variant_campaign_ids[2]"},
    ),
    ({"holdout_ids": ["none"]}, "HOLDOUT_UNKNOWN", {"holdout_ids"}),
]


@pytest.mark.usefixtures("campaigns")
async def test_what_is_unknown_is_named_and_nothing_is_created(
    abtest: ABTestServiceStub, database: DatabaseAddresses
) -> None:
    for fields, reason, violated in UNKNOWN:
        found = await refusal(abtest.CreateTest(a_test(**fields)))
        assert (found[0], found[1], set(found[2])) == (grpc.StatusCode.NOT_FOUND, reason, violated)
    assert await kept_rows(database.admin) == 0


async def test_revenue_of_different_currencies_is_not_compared(
    abtest: ABTestServiceStub, database: DatabaseAddresses
) -> None:
    revenue = metrics_pb2.Metric(metric_type="revenue_per_user")
    connection = await asyncpg.connect(database.admin)
    try:
        for campaign_id, currency_code in ((CONTROL_CAMPAIGN, "USD"), (VARIANT_CAMPAIGN, "EUR")):
            await connection.execute(
                "update analytics.campaigns set currency_code = $2 where campaign_id = $1",
                campaign_id,
                currency_code,
            )
    finally:
        await connection.close()
    for fields in ({"primary_metric": revenue}, {"secondary_metrics": [revenue]}):
        code, reason, found = await refusal(abtest.CreateTest(a_test(**fields)))
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CURRENCY_CONFLICT")
        assert found == {"control_campaign_id": "is in USD", "variant_campaign_id": "is in EUR"}
    assert await kept_rows(database.admin) == 0
    assert (await abtest.CreateTest(a_test())).test_id  # conversions can be compared


async def test_a_full_exclusion_group_creates_nothing(abtest: ABTestServiceStub) -> None:
    await abtest.CreateTest(a_test(exclusion_group="g", exclusion_share=0.7))
    code, reason, fields = await refusal(
        abtest.CreateTest(a_test(exclusion_group="g", exclusion_share=0.4, request_id="r"))
    )
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "EXCLUSION_GROUP_FULL")
    assert set(fields) == {"exclusion_share"}
    history = await abtest.ListTestHistory(history_pb2.ListTestHistoryRequest())
    assert len(history.tests) == 1
    created = await abtest.CreateTest(a_test(exclusion_group="g", exclusion_share=0.3, request_id="r"))
    assert created.test_id


OTHER_CONTENT: list[dict[str, Any]] = [
    {"hypothesis": "another"},
    {"coverage": 0.5},
    {"primary_metric": metrics_pb2.Metric(metric_type="revenue_per_user")},
    {"guardrail_metrics": [GUARDRAIL]},
    {"targeting": tests_pb2.Targeting(include_segments=["gold"])},
    {"exclusion_group": "g", "exclusion_share": 0.5},
    {"bandit": bandit_pb2.BanditSettings()},
    {"end_time": datetime_to_timestamp(LATER)},
    {"start_time": datetime_to_timestamp(SOON)},
    {"is_draft": True},
    {"planned_duration_days": 7},
]


async def test_a_request_id_stands_for_the_whole_request(abtest: ABTestServiceStub) -> None:
    first = await abtest.CreateTest(a_test(request_id="r"))
    for fields in OTHER_CONTENT:
        code, reason, _ = await refusal(abtest.CreateTest(a_test(request_id="r", **fields)))
        assert (code, reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_CONFLICT"), fields
        request = a_test(request_id=f"with {next(iter(fields))}", **fields)
        other = await abtest.CreateTest(request)
        assert (await abtest.CreateTest(request)).test_id == other.test_id != first.test_id
    assert (await abtest.CreateTest(a_test(request_id="r"))).test_id == first.test_id


async def test_a_request_sent_again_finds_its_test_however_it_changed(abtest: ABTestServiceStub) -> None:
    request = a_test(request_id="r", actor="ada")
    created = await abtest.CreateTest(request)
    await abtest.UpdateTest(
        tests_pb2.UpdateTestRequest(test_id=created.test_id, test_name="renamed", coverage=0.5)
    )
    again = await abtest.CreateTest(request)
    assert (again.test_id, again.test_name, again.coverage) == (created.test_id, "renamed", 0.5)


async def test_one_request_sent_many_times_at_once_creates_one_test(abtest: ABTestServiceStub) -> None:
    answers = await asyncio.gather(*(abtest.CreateTest(a_test(request_id="r")) for _ in range(8)))
    assert len({answer.test_id for answer in answers}) == 1
    history = await abtest.ListTestHistory(history_pb2.ListTestHistoryRequest())
    assert [test.test_id for test in history.tests] == [answers[0].test_id]


async def test_an_unknown_test_is_refused(abtest: ABTestServiceStub) -> None:
    code, reason, fields = await refusal(abtest.GetTest(tests_pb2.GetTestRequest(test_id="none")))
    assert (code, reason, set(fields)) == (grpc.StatusCode.NOT_FOUND, "TEST_UNKNOWN", {"test_id"})
