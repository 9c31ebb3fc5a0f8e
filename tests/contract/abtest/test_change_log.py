"""The log of changes and the history of tests over the wire: pages and filters."""

from typing import Any

import grpc

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1 import (
    audit_pb2,
    history_pb2,
    tests_pb2,
)
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from services.common.paging import encode_page_token
from services.common.wire import datetime_to_timestamp
from tests.abtest_factories import add_campaigns, refusal
from tests.contract.abtest.lifecycle_stand import HOUR, NOW, STEPS, Clock, create


async def test_the_log_has_pages(stub: ABTestServiceStub) -> None:
    test_id = await create(stub)
    for number in range(4):
        await stub.UpdateTest(tests_pb2.UpdateTestRequest(test_id=test_id, test_name=f"n{number}"))
    seen: list[int] = []
    token = ""
    while True:
        page = await stub.ListTestChanges(
            audit_pb2.ListTestChangesRequest(test_id=test_id, page_size=2, page_token=token)
        )
        seen += [change.change_number for change in page.changes]
        token = page.next_page_token
        if not token:
            break
    assert seen == [5, 4, 3, 2, 1]
    first = await stub.ListTestChanges(audit_pb2.ListTestChangesRequest(test_id=test_id, page_size=2))
    other = await create(stub)
    for wrong in (
        audit_pb2.ListTestChangesRequest(test_id=other, page_token=first.next_page_token),
        audit_pb2.ListTestChangesRequest(test_id=test_id, page_token="x"),
        audit_pb2.ListTestChangesRequest(
            test_id=test_id, page_token=encode_page_token({"test_id": test_id, "before": 0})
        ),
    ):
        code, _, fields = await refusal(stub.ListTestChanges(wrong))
        assert (code, set(fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {"page_token"})
    code, reason, _ = await refusal(stub.ListTestChanges(audit_pb2.ListTestChangesRequest(test_id="none")))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "TEST_UNKNOWN")


async def list_names(stub: ABTestServiceStub, **filters: Any) -> list[str]:  # noqa: ANN401
    answer = await stub.ListTestHistory(history_pb2.ListTestHistoryRequest(**filters))
    return [test.test_name for test in answer.tests]


async def test_the_history_is_filtered(
    stub: ABTestServiceStub, clock: Clock, database: DatabaseAddresses
) -> None:
    await add_campaigns(database.admin, ["third"])
    made: dict[str, str] = {}
    wanted: dict[str, dict[str, Any]] = {
        "draft one": {"is_draft": True},
        "running": {"variant_campaign_id": "third"},
        "paused": {"decision_method": "fixed_horizon"},
        "ended": {},
        "old 100% draft": {"is_draft": True},
    }
    for name, fields in wanted.items():
        made[name] = await create(stub, test_name=name, **fields)
        clock.now += HOUR
    await STEPS["pause"](stub, made["paused"])
    await STEPS["end"](stub, made["ended"])
    await STEPS["archive"](stub, made["old 100% draft"])
    assert await list_names(stub) == ["ended", "paused", "running", "draft one"]
    assert await list_names(stub, statuses=["archived"]) == ["old 100% draft"]
    assert await list_names(stub, statuses=["draft", "paused"]) == ["paused", "draft one"]
    assert await list_names(stub, campaign_id="third") == ["running"]
    assert await list_names(stub, decision_method="fixed_horizon") == ["paused"]
    assert await list_names(stub, verdict="stop") == ["ended"]
    assert await list_names(stub, verdict="ship") == []
    assert await list_names(stub, name_contains="DRAFT") == ["draft one"]
    assert await list_names(stub, name_contains="0% d", statuses=["archived"]) == ["old 100% draft"]
    assert await list_names(
        stub,
        created_from=datetime_to_timestamp(NOW + HOUR),
        created_until=datetime_to_timestamp(NOW + 3 * HOUR),
    ) == ["paused", "running"]
    summary = (await stub.ListTestHistory(history_pb2.ListTestHistoryRequest(campaign_id="third"))).tests[0]
    assert (summary.status, summary.is_active) == ("running", True)
    assert list(summary.campaign_ids) == ["camp_control", "third"]
    assert summary.create_time == datetime_to_timestamp(NOW + HOUR)


async def test_a_page_goes_on_under_its_own_filters_only(stub: ABTestServiceStub, clock: Clock) -> None:
    for name in ("a1", "a2", "b", "a3"):
        await create(stub, test_name=name)
        clock.now += HOUR
    first = await stub.ListTestHistory(history_pb2.ListTestHistoryRequest(limit=2, name_contains="a"))
    assert [test.test_name for test in first.tests] == ["a3", "a2"]
    token = first.next_page_token
    second = await stub.ListTestHistory(
        history_pb2.ListTestHistoryRequest(limit=2, name_contains="a", page_token=token)
    )
    assert [test.test_name for test in second.tests] == ["a1"]
    assert not second.next_page_token
    code, _, fields = await refusal(
        stub.ListTestHistory(history_pb2.ListTestHistoryRequest(limit=2, page_token=token))
    )
    assert (code, set(fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {"page_token"})


WRONG_FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"statuses": ["draft", "gone"]}, {"statuses[1]"}),
    ({"decision_method": "peek"}, {"decision_method"}),
    ({"verdict": "continue"}, {"verdict"}),
    ({"name_contains": "x" * 257}, {"name_contains"}),
    ({"campaign_id": "x" * 129}, {"campaign_id"}),
    (
        {"created_from": datetime_to_timestamp(NOW), "created_until": datetime_to_timestamp(NOW)},
        {"created_until"},
    ),
]


async def test_a_wrong_filter_is_named(stub: ABTestServiceStub) -> None:
    for filters, violated in WRONG_FILTERS:
        request = history_pb2.ListTestHistoryRequest(**filters)
        code, _, fields = await refusal(stub.ListTestHistory(request))
        assert (code, set(fields)) == (grpc.StatusCode.INVALID_ARGUMENT, violated), filters
