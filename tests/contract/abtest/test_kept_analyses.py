"""Kept analyses through the service: pages of them, and files."""

import asyncio
import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import asyncpg
import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1 import export_service_pb2, results_pb2
from services.common.paging import encode_page_token
from tests.abtest_factories import (
    refusal,
)
from tests.contract.abtest.outcomes_stand import CONVERTED, REVENUE, Service, event


async def many_analyses(service: Service, count: int) -> str:
    test_id, control, _ = await service.start(test_name="=1+1", secondary_metrics=[REVENUE])
    for user in control[:count]:
        await service.add(event(user, CONVERTED, micros=1_000_000))
        await service.analyze(test_id)
    return test_id


async def test_kept_analyses_come_in_pages_the_newest_first(service: Service) -> None:
    test_id = await many_analyses(service, 5)
    request = results_pb2.ListTestResultsRequest(test_id=test_id, page_size=2)
    seen: list[tuple[int, int]] = []
    while True:
        page = await service.stub.ListTestResults(request)
        seen += [(each.result_number, each.groups[0].conversions) for each in page.results]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == [(5, 5), (4, 4), (3, 3), (2, 2), (1, 1)]
    other, _, _ = await service.start(users=0)
    foreign = results_pb2.ListTestResultsRequest(test_id=other, page_token=request.page_token)
    code, reason, _ = await refusal(service.stub.ListTestResults(foreign))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")


async def read_file(service: Service, **fields: Any) -> tuple[str, str, str]:  # noqa: ANN401
    """Return a file's name, type and text."""
    call = service.export.ExportTestResults(export_service_pb2.ExportTestResultsRequest(**fields))
    parts = [part async for part in call]
    metadata = dict(await call.initial_metadata())
    (content_type,) = {part.content_type for part in parts}
    return str(metadata["content-disposition"]), content_type, b"".join(part.data for part in parts).decode()


async def test_analyses_are_sent_as_files(service: Service) -> None:
    test_id = await many_analyses(service, 3)
    name, content_type, text = await read_file(service, test_id=test_id)
    assert (name, content_type) == (
        f'attachment; filename="test-results-{test_id}.csv"',
        "text/csv; charset=utf-8; header=present",
    )
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 3 * 2 * 2  # analyses, metrics, groups
    assert {row["test_name"] for row in rows} == {"'=1+1"}
    assert [row["result_number"] for row in rows[::4]] == ["3", "2", "1"]
    assert (rows[0]["group"], rows[0]["metric_name"], rows[0]["total"]) == (
        "control",
        "conversion_rate",
        "3.0",
    )
    assert (rows[0]["p_value"], rows[0]["is_final"]) == ("", "false")
    assert float(rows[1]["relative_lift"]) == -1.0
    _, content_type, text = await read_file(service, test_id=test_id, format="jsonl", newest_only=True)
    lines: Sequence[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    assert content_type == "application/jsonl; charset=utf-8"
    assert [(line["result_number"], line["group"]) for line in lines] == [(3, "control"), (3, "variant")] * 2
    assert lines[0]["p_value"] is None
    assert lines[0]["test_name"] == "=1+1"


async def test_a_file_of_nothing_is_refused_or_empty(service: Service) -> None:
    test_id, _, _ = await service.start(users=0)
    _, _, text = await read_file(service, test_id=test_id)
    assert text.startswith("test_id,test_name,result_number,")
    assert text.count("\r\n") == 1
    for fields, code in (
        ({"test_id": "no such"}, grpc.StatusCode.NOT_FOUND),
        ({"test_id": test_id, "format": "xlsx"}, grpc.StatusCode.INVALID_ARGUMENT),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read_file(service, **fields)
        assert caught.value.code() == code


KEPT_IN_COLUMNS = (
    "verdict",
    "winner",
    "p_value",
    "anytime_p_value",
    "power",
    "relative_lift_interval",
    "anytime_relative_lift_interval",
    "groups",
    "sample_ratio_p_value",
    "result_number",
    "warnings",
    "reasons",
    "compared_group",
)


async def test_a_result_from_before_analyses_were_kept_whole_is_still_told(service: Service) -> None:
    test_id, control, variant = await service.start(minimum_detectable_effect=0.5)
    await service.add(*(event(user, CONVERTED) for user in [*control[:12], *variant[:60]]))
    ended = await service.stub.EndTest(results_pb2.EndTestRequest(test_id=test_id))
    await service.execute("update abtest.ab_test_results set document = null")
    early = await service.analyze(test_id)
    for field in KEPT_IN_COLUMNS:
        assert getattr(early, field) == getattr(ended, field)


async def test_analyses_at_once_take_a_look_together(service: Service) -> None:
    test_id, control, variant = await service.start(decision_method="group_sequential", planned_looks=4)
    await service.add(*(event(user, CONVERTED) for user in [*control[:30], *variant[:80]]))
    answers = await asyncio.gather(*(service.analyze(test_id) for _ in range(6)))
    assert {(each.result_number, each.look_number, each.verdict) for each in answers} == {(1, 1, "ship")}
    ends = await asyncio.gather(
        *(service.stub.EndTest(results_pb2.EndTestRequest(test_id=test_id)) for _ in range(4))
    )
    assert {(each.result_number, each.look_number, each.winner) for each in ends} == {(2, 1, "variant")}


async def test_no_analysis_kept_can_be_changed(service: Service, database: DatabaseAddresses) -> None:
    test_id, _, _ = await service.start()
    await service.analyze(test_id)
    connection = await asyncpg.connect(database.abtest)
    try:
        for change in ("update ab_test_results set verdict = 1", "delete from ab_test_looks"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(change)
    finally:
        await connection.close()


async def test_a_long_history_is_sent_page_by_page(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.abtest.servicer.export._PAGE", 2)
    test_id = await many_analyses(service, 5)
    _, _, text = await read_file(service, test_id=test_id, format="jsonl")
    numbers = [json.loads(line)["result_number"] for line in text.splitlines()]
    assert numbers == sorted([1, 2, 3, 4, 5] * 4, reverse=True)


@pytest.mark.parametrize("before", [0, 2**31, "5"])
async def test_a_page_token_that_was_tampered_with_is_refused(service: Service, before: int | str) -> None:
    test_id, _, _ = await service.start(users=0)
    token = encode_page_token({"before": before, "test_id": test_id})
    request = results_pb2.ListTestResultsRequest(test_id=test_id, page_token=token)
    code, reason, _ = await refusal(service.stub.ListTestResults(request))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")
