# ruff: noqa: ANN401 (values of any field of a message pass through here)
"""Bad input to every rpc of abtest, through a real server: a clear status, and nothing of the inside."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message import Message

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1 import (
    abtest_service_pb2,  # noqa: F401 (it fills the pool of descriptors)
    assignments_pb2,
    audit_pb2,
    bandit_pb2,
    duration_pb2,
    exclusion_pb2,
    export_service_pb2,
    exposures_pb2,
    history_pb2,
    metrics_pb2,
    operations_service_pb2,
    overlaps_pb2,
    planning_pb2,
    progress_pb2,
    results_pb2,
    simulation_pb2,
    tests_pb2,
)
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from services.common.wire import datetime_to_timestamp
from tests.abtest_factories import CONTROL_CAMPAIGN, VARIANT_CAMPAIGN, a_test, add_campaigns, running_channel
from tests.bad_input import ask, broken_bytes, hostile_requests, judge, list_rpcs, refuse

pytestmark = pytest.mark.asyncio(loop_scope="module")

RPCS = {rpc.name: rpc for rpc in list_rpcs("campaigns.abtest.v1.")}
SOON = datetime.now(UTC) + timedelta(days=1)
RUNNING, BANDIT, DRAFT, OTHER = "running", "bandit", "draft", "other"
"""Tests that there are; requests name them by these words, which the fixture fills in."""
PLANNED: dict[str, Any] = {"baseline_conversion_rate": 0.1, "confidence_level": 0.9, "variants": 2}
FIT: dict[str, Message] = {
    "ABTestService.CreateTest": a_test(
        variant_campaign_id="",
        variant_campaign_ids=[VARIANT_CAMPAIGN],
        traffic_weights=[0.5, 0.5],
        coverage=1.0,
        hash_seed="seed",
        minimum_detectable_effect=0.1,
        decision_method="group_sequential",
        planned_looks=5,
        planned_duration_days=28,
        targeting=tests_pb2.Targeting(include_segments=["a"], exclude_segments=["b"]),
        end_time=datetime_to_timestamp(SOON),
        primary_metric=metrics_pb2.Metric(metric_type="revenue_per_user", winsorize_quantile=0.99),
        secondary_metrics=[
            metrics_pb2.Metric(metric_type="ratio", numerator="clicks", denominator="impressions")
        ],
        guardrail_metrics=[metrics_pb2.Metric(metric_type="conversion", non_inferiority_margin=0.02)],
        bandit=bandit_pb2.BanditSettings(exploration_floor=0.1),
    ),
    "ABTestService.GetTest": tests_pb2.GetTestRequest(test_id=RUNNING),
    "ABTestService.UpdateTest": tests_pb2.UpdateTestRequest(test_id=DRAFT, test_name="n", coverage=0.5),
    "ABTestService.StartTest": tests_pb2.StartTestRequest(test_id=OTHER),
    "ABTestService.PauseTest": tests_pb2.PauseTestRequest(test_id=OTHER),
    "ABTestService.ResumeTest": tests_pb2.ResumeTestRequest(test_id=OTHER),
    "ABTestService.EndTest": results_pb2.EndTestRequest(test_id=OTHER),
    "ABTestService.ArchiveTest": tests_pb2.ArchiveTestRequest(test_id=OTHER),
    "ABTestService.ListTestChanges": audit_pb2.ListTestChangesRequest(test_id=RUNNING),
    "ABTestService.GetTestStatus": progress_pb2.GetTestStatusRequest(test_id=RUNNING),
    "ABTestService.AnalyzeTest": results_pb2.AnalyzeTestRequest(test_id=RUNNING, breakdowns=["segment"]),
    "ABTestService.ListTestResults": results_pb2.ListTestResultsRequest(test_id=RUNNING),
    "ABTestService.AssignUser": assignments_pb2.AssignUserRequest(test_id=RUNNING, user_id="u"),
    "ABTestService.AssignUsers": assignments_pb2.AssignUsersRequest(test_id=RUNNING, user_ids=["u", "v"]),
    "ABTestService.GetUserTestGroup": assignments_pb2.GetUserTestGroupRequest(test_id=RUNNING, user_id="u"),
    "ABTestService.RecordExposures": exposures_pb2.RecordExposuresRequest(
        exposures=[exposures_pb2.Exposure(test_id=RUNNING, user_id="u", source="app")]
    ),
    "ABTestService.ListExposures": exposures_pb2.ListExposuresRequest(test_id=RUNNING),
    "ABTestService.CreateHoldout": exclusion_pb2.CreateHoldoutRequest(holdout_id="h", share=0.1),
    "ABTestService.EndHoldout": exclusion_pb2.EndHoldoutRequest(holdout_id="h"),
    "ABTestService.ListHoldouts": exclusion_pb2.ListHoldoutsRequest(),
    "ABTestService.ListExclusionGroups": exclusion_pb2.ListExclusionGroupsRequest(),
    "ABTestService.ListTestHistory": history_pb2.ListTestHistoryRequest(limit=1),
    "ABTestService.EstimateSampleSize": planning_pb2.EstimateSampleSizeRequest(
        **PLANNED, minimum_detectable_effect=0.2
    ),
    "ABTestService.EstimateMinimumDetectableEffect": planning_pb2.EstimateMinimumDetectableEffectRequest(
        **PLANNED, sample_size_per_variant=1000
    ),
    "ABTestService.EstimatePower": planning_pb2.EstimatePowerRequest(
        **PLANNED, sample_size_per_variant=1000, minimum_detectable_effect=0.2
    ),
    "ABTestService.EstimateTestDuration": duration_pb2.EstimateTestDurationRequest(
        campaign_ids=[CONTROL_CAMPAIGN], target_sample_size=100
    ),
    "ABTestService.SimulateTest": simulation_pb2.SimulateTestRequest(
        baseline_conversion_rate=0.1, target_sample_size=100, simulations=100, looks=2
    ),
    "ABTestService.ListOverlappingTests": overlaps_pb2.ListOverlappingTestsRequest(test_id=RUNNING),
    "ABTestService.GetBandit": bandit_pb2.GetBanditRequest(test_id=BANDIT),
    "ABTestService.ListBanditSteps": bandit_pb2.ListBanditStepsRequest(test_id=BANDIT),
    "ABTestExportService.ExportTestResults": export_service_pb2.ExportTestResultsRequest(test_id=RUNNING),
    "ABTestOperationsService.ListJobs": operations_service_pb2.ListJobsRequest(),
    "ABTestOperationsService.RunJob": operations_service_pb2.RunJobRequest(job_name="schedules"),
}
JUDGED_ELSEWHERE = {"ABTestService.SimulateTest", "ABTestService.RecordExposures"}
"""Simulations that fit take a process each; exposures are judged one by one."""
LISTS = sorted(name for name in FIT if "page_token" in RPCS[name].request.DESCRIPTOR.fields_by_name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(module_database: DatabaseAddresses) -> AsyncIterator[tuple[grpc.aio.Channel, dict[str, str]]]:
    """A channel to a server, and the test_id of each word for a test."""
    await add_campaigns(module_database.admin)
    async with running_channel(module_database.abtest) as channel:
        stub = ABTestServiceStub(channel)
        wanted: dict[str, dict[str, Any]] = {
            RUNNING: {},
            BANDIT: {"bandit": bandit_pb2.BanditSettings()},
            DRAFT: {"is_draft": True},
            OTHER: {},
        }
        tests = {
            word: (await stub.CreateTest(a_test(test_name=word, **fields))).test_id
            for word, fields in wanted.items()
        }
        for user in ("u", "v", "w"):
            await stub.AssignUser(assignments_pb2.AssignUserRequest(test_id=tests[RUNNING], user_id=user))
        yield channel, tests


def fit(name: str, tests: dict[str, str]) -> Any:
    """Return a request that fits, on a test that there is."""
    request: Any = RPCS[name].request()
    request.CopyFrom(FIT[name])
    for owner in (request, *getattr(request, "exposures", ())):
        if "test_id" in owner.DESCRIPTOR.fields_by_name:
            owner.test_id = tests.get(owner.test_id, owner.test_id)
    return request


async def test_every_rpc_has_a_request_that_fits() -> None:
    """Whoever adds an rpc says here what it is asked."""
    assert sorted(FIT) == sorted(RPCS)
    for name, request in FIT.items():
        assert isinstance(request, RPCS[name].request), name


@pytest.mark.parametrize("name", sorted(set(FIT) - JUDGED_ELSEWHERE))
async def test_no_value_of_any_field_is_a_defect(
    stand: tuple[grpc.aio.Channel, dict[str, str]], name: str
) -> None:
    channel, tests = stand
    rpc = RPCS[name]
    wrong = []
    for how, request in [("the empty request", rpc.request()), *hostile_requests(fit(name, tests))]:
        if problem := judge(rpc, await refuse(channel, rpc, request.SerializeToString())):
            wrong.append(f"{how} {problem}")
    assert not wrong, "\n".join(wrong)


async def test_a_hostile_exposure_is_taken_or_rejected_by_its_field(
    stand: tuple[grpc.aio.Channel, dict[str, str]],
) -> None:
    channel, tests = stand
    rpc = RPCS["ABTestService.RecordExposures"]
    wrong = []
    for how, request in hostile_requests(fit(rpc.name, tests)):
        refused = await refuse(channel, rpc, request.SerializeToString())
        if refused is not None:
            if problem := judge(rpc, refused):
                wrong.append(f"{how} {problem}")
            continue
        answer = rpc.answer.FromString(await ask(channel, rpc, request.SerializeToString()))
        for rejection in answer.rejections:
            known = exposures_pb2.Exposure.DESCRIPTOR.fields_by_name
            if rejection.index or rejection.field not in known or not rejection.message:
                wrong.append(f"{how} is rejected by {rejection}")
    assert not wrong, "\n".join(wrong)


async def test_bytes_that_are_no_request(stand: tuple[grpc.aio.Channel, dict[str, str]]) -> None:
    channel, _ = stand
    for rpc in RPCS.values():
        for how, content in broken_bytes(rpc.request.DESCRIPTOR):
            refused = await refuse(channel, rpc, content)
            assert refused is not None, f"{rpc.name}: {how}"
            assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", "REQUEST_INVALID"), how


@pytest.mark.parametrize("name", LISTS)
async def test_a_forged_token_is_answered_or_refused_by_its_field(
    stand: tuple[grpc.aio.Channel, dict[str, str]], name: str
) -> None:
    channel, tests = stand
    for token in (
        "bnVsbA",
        "e30",
        "W10",
        "eyJiZWZvcmUiOi0xfQ",
        "eyJ0ZXN0X2lkIjoiXHUwMDAwIn0",
        "!",
        "x" * 5000,
    ):
        request = fit(name, tests)
        request.page_token = token
        refused = await refuse(channel, RPCS[name], request.SerializeToString())
        if token != "e30":  # an empty cursor starts a list anew
            assert refused is not None, token
            assert refused.fields == {"page_token": "PAGE_TOKEN_INVALID"}, token
