# ruff: noqa: ANN401 (values of any field of a message pass through here)
"""Bad input to every rpc of analytics, through a real server: a clear status, and nothing of the inside.

What is asked of each rpc stands in `tests.bad_input_rows`; `tests.bad_input` makes more from the descriptors.
"""

import base64
import json
from collections.abc import AsyncIterator
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import grpc
import pytest
import pytest_asyncio

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import alert_service_pb2, alerts_pb2, catalog_service_pb2, costs_pb2
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from services.analytics.attributing.refresh import AttributionRefresh
from services.analytics.operations.alerts import AlertOperations
from services.analytics.operations.changes import Changes
from services.analytics.operations.watch_hub import WatchHub
from services.analytics.server import open_database
from tests.analytics_factories import (
    NOW,
    Refusal,
    Stubs,
    add_catalog,
    event,
    ingest,
    running_channel,
    settings_for,
)
from tests.audience_factories import AudienceJobs
from tests.bad_input import INSIDE, REASONS, ask, broken_bytes, hostile_requests, judge, list_rpcs, refuse
from tests.bad_input_rows import ROWS
from tests.bad_requests import Refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

RPCS = {rpc.name: rpc for rpc in list_rpcs()}
NAMES = sorted(RPCS)
OF_ENTRIES = {
    "AnalyticsService.IngestEvents": "events",
    "AnalyticsService.IngestEventStream": "events",
    "AnalyticsService.ImportCosts": "costs",
}
"""Those that judge the entries of a request one by one, and the list."""
LISTS = [name for name in NAMES if "page_token" in RPCS[name].request.DESCRIPTOR.fields_by_name]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(module_database: DatabaseAddresses) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server on which every list has two pages of one entry."""
    async with running_channel(module_database.analytics) as running:
        await fill(Stubs.of(running), module_database)
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def full_channel(
    module_database: DatabaseAddresses, channel: grpc.aio.Channel
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server that has no room for another watcher, so that no watching goes on for ever."""
    async with running_channel(module_database.analytics, max_watchers=1) as running:
        watching = Stubs.of(running).analytics.WatchPortfolio(pb.WatchPortfolioRequest())
        await watching.read()
        yield running
        watching.cancel()


async def fill(stubs: Stubs, database: DatabaseAddresses) -> None:
    await add_catalog(stubs)
    users = [catalog_service_pb2.User(user_id=name) for name in ("u1", "u2")]
    await stubs.catalog.UpsertUsers(catalog_service_pb2.UpsertUsersRequest(users=users))
    campaigns = [catalog_service_pb2.Campaign(campaign_id=name, merchant_id=1) for name in ("c1", "c2")]
    await stubs.catalog.UpsertCampaigns(catalog_service_pb2.UpsertCampaignsRequest(campaigns=campaigns))
    for day, name in ((30, "c1"), (31, "c2")):
        at = f"2026-03-{day}T10:00:00+00:00"
        await ingest(
            stubs,
            event(f"v{day}", "VIEWED", campaign_id=name, user_id=f"u{day}", event_time=at),
            event(f"b{day}", "CONVERTED", campaign_id=name, user_id=f"u{day}", event_time=at, revenue=5.0),
        )
    costs = [costs_pb2.DailyCost(campaign_id=name, cost_date="2026-03-01", cost=1) for name in ("c1", "c2")]
    await stubs.analytics.ImportCosts(costs_pb2.ImportCostsRequest(costs=costs))
    for threshold in (0, 0.5, 1000):
        rule = alerts_pb2.AlertRule(
            metric="conversions",
            kind=alerts_pb2.ALERT_KIND_ABOVE,
            threshold=threshold,
            days=7,
            requires_significance=False,
        )
        await stubs.alerts.CreateAlertRule(alert_service_pb2.CreateAlertRuleRequest(rule=rule))
    async with open_database(settings_for(database.analytics)) as own:
        changes, hub = Changes(own, lambda _topics: None), WatchHub(clock=lambda: NOW)
        await AlertOperations(
            own, changes=changes, hub=hub, zone=ZoneInfo("UTC"), clock=lambda: NOW, maximum_rules=9
        ).evaluate()
        await AudienceJobs.of(own).run()
        await AttributionRefresh(own, zone=ZoneInfo("UTC"), lookback_days=30, clock=lambda: NOW).run()
    connection = await asyncpg.connect(database.analytics)
    try:
        await connection.execute("update alert_rules set rule_id = 'spare' where threshold = 1000")
    finally:
        await connection.close()


async def test_every_rpc_has_a_row() -> None:
    """Whoever adds an rpc says here what it refuses."""
    assert sorted(ROWS) == NAMES
    for name, row in ROWS.items():
        assert isinstance(row.fit, RPCS[name].request), name
        has_fields = bool(row.fit.DESCRIPTOR.fields)
        assert bool(row.refused) == has_fields, f"{name}: nothing refused says nothing"


@pytest.mark.parametrize("name", NAMES)
async def test_what_is_fit_is_answered(channel: grpc.aio.Channel, name: str) -> None:
    refused = await refuse(channel, RPCS[name], ROWS[name].fit.SerializeToString())
    assert (refused.reason if refused else "") == ROWS[name].missing


@pytest.mark.parametrize("name", [name for name in NAMES if ROWS[name].refused])
async def test_what_is_wrong_is_refused_by_its_field(channel: grpc.aio.Channel, name: str) -> None:
    rpc, row = RPCS[name], ROWS[name]
    wrong = []
    for case in row.refused:
        refused = await refuse(channel, rpc, row.request(case).SerializeToString())
        if refused is None or not fits(refused, case):
            wrong.append(f"{case} is answered by {refused}, not by {case.code} {case.reason} {case.field}")
    assert not wrong, "\n".join(wrong)


def fits(refused: Refusal, case: Refused) -> bool:
    fields = {case.field: case.reason} if case.field else {}
    return (refused.code, refused.reason, refused.fields) == (case.code, case.reason, fields)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OF_ENTRIES])
async def test_no_value_of_any_field_is_a_defect(
    channel: grpc.aio.Channel, full_channel: grpc.aio.Channel, name: str
) -> None:
    rpc = RPCS[name]
    chosen = full_channel if "Watch" in name else channel
    requests = [("the empty request", rpc.request()), *hostile_requests(ROWS[name].fit)]
    if name == "ExportService.Export":
        requests = list(hostile_exports())
    wrong = []
    for how, request in requests:
        if problem := judge(rpc, await refuse(chosen, rpc, request.SerializeToString())):
            wrong.append(f"{how} {problem}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("name", "entries"), OF_ENTRIES.items())
async def test_a_hostile_entry_is_taken_or_rejected_by_its_field(
    channel: grpc.aio.Channel, name: str, entries: str
) -> None:
    rpc, fit = RPCS[name], ROWS[name].fit
    known = getattr(fit, entries)[0].DESCRIPTOR.fields_by_name
    for how, request in hostile_requests(fit):
        answer = rpc.answer.FromString(await ask(channel, rpc, request.SerializeToString()))
        taken = answer.accepted_count + (answer.duplicate_count if entries == "events" else 0)
        assert taken + len(answer.rejections) == 1, how
        for rejection in answer.rejections:
            assert rejection.index == 0, how
            assert rejection.field in known, how
            assert rejection.reason in REASONS, how
            assert rejection.message, how
            assert not INSIDE.search(rejection.message), how


def hostile_exports() -> list[tuple[str, Any]]:
    """Return every question that a file can answer, made hostile, at random a tenth of them."""
    rpc = RPCS["ExportService.Export"]
    rows = {type(row.fit): row for row in ROWS.values()}
    requests = list(hostile_requests(ROWS[rpc.name].fit))
    random = Random(1)  # noqa: S311
    for field in rpc.request.DESCRIPTOR.oneofs_by_name["question"].fields:
        request = rpc.request()
        question = getattr(request, field.name)
        question.SetInParent()
        question.CopyFrom(rows[type(question)].fit)
        requests += [found for found in hostile_requests(request) if random.random() < 0.1]
    return requests


@pytest.mark.parametrize("name", NAMES)
async def test_bytes_that_are_no_request(full_channel: grpc.aio.Channel, name: str) -> None:
    rpc = RPCS[name]
    for how, content in broken_bytes(rpc.request.DESCRIPTOR):
        refused = await refuse(full_channel, rpc, content)
        assert refused is not None, how
        assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", "REQUEST_INVALID"), how


async def test_a_message_over_the_limit_is_refused_and_the_next_one_served(channel: grpc.aio.Channel) -> None:
    rpc = RPCS["AnalyticsService.GetCampaignMetrics"]
    request = pb.GetCampaignMetricsRequest(campaign_id="x" * (16 << 20))
    refused = await refuse(channel, rpc, request.SerializeToString())
    assert refused is not None
    assert refused.code == "RESOURCE_EXHAUSTED"
    assert await refuse(channel, rpc, ROWS[rpc.name].fit.SerializeToString()) is None


async def first_token(channel: grpc.aio.Channel, name: str) -> str:
    """Return the token of the second page of a list, by pages of one entry."""
    request = RPCS[name].request()
    request.CopyFrom(ROWS[name].fit)
    request.page_size = 1
    answer = RPCS[name].answer.FromString(await ask(channel, RPCS[name], request.SerializeToString()))
    assert answer.next_page_token, f"{name} has one page only"
    return str(answer.next_page_token)


async def refuse_token(channel: grpc.aio.Channel, name: str, token: str, **others: Any) -> Refusal | None:
    request = RPCS[name].request()
    request.CopyFrom(ROWS[name].fit)
    request.MergeFrom(RPCS[name].request(page_token=token, **others))
    return await refuse(channel, RPCS[name], request.SerializeToString())


@pytest.mark.parametrize("name", LISTS)
async def test_a_token_goes_on_with_its_own_list_only(channel: grpc.aio.Channel, name: str) -> None:
    for other in LISTS:
        refused = await refuse_token(channel, name, await first_token(channel, other))
        if other == name:
            assert refused is None
        else:
            assert refused is not None, f"takes the token of {other}"
            assert refused.fields == {"page_token": "PAGE_TOKEN_INVALID"}, other


@pytest.mark.parametrize(
    ("name", "filters"),
    [
        ("AlertService.ListAlertRules", {"campaign_id": "c1"}),
        ("AlertService.ListAlerts", {"campaign_id": "c1"}),
        ("AlertService.ListAlerts", {"only_open": True}),
        ("AnalyticsService.GetMerchantPerformance", {"merchant_id": 2}),
        ("AnalyticsService.GetMerchantPerformance", {"start_date": "2026-03-01"}),
        ("AnalyticsService.GetPortfolioAttribution", {"model": "linear"}),
        ("AnalyticsService.GetPortfolioAttribution", {"currency_code": "EUR"}),
        ("AnalyticsService.ListCohorts", {"interval": "daily"}),
        ("AnalyticsService.ListCohorts", {"currency_code": "EUR"}),
        ("AnalyticsService.ListCohorts", {"end_date": "2026-03-31"}),
        ("AnalyticsService.ListCohorts", {"max_periods": 3}),
        ("AnalyticsService.ListCosts", {"campaign_id": "c1"}),
        ("AnalyticsService.ListCosts", {"end_date": "2026-03-31"}),
    ],
)
async def test_a_token_goes_on_with_its_own_filters_only(
    channel: grpc.aio.Channel, name: str, filters: dict[str, Any]
) -> None:
    refused = await refuse_token(channel, name, await first_token(channel, name), **filters)
    assert refused is not None
    assert refused.fields == {"page_token": "PAGE_TOKEN_INVALID"}


FORGED: tuple[Any, ...] = (
    *("", "\0", "a\0b", "x" * 129, "9999-12-31", "0001-01-01", "2026-02-30", "2026-03-30T00:00:00"),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999999+00:00"),
    *(-(2**31), 2**31, -(2**63), 2**63, 10**300, 1.5, float("nan"), float("inf"), True, None, [], {}),
)


@pytest.mark.parametrize("name", LISTS)
async def test_a_forged_token_is_answered_or_refused(channel: grpc.aio.Channel, name: str) -> None:
    """Whoever reads a token can write one; it leads to an answer or to a refusal, never to a defect."""
    token = await first_token(channel, name)
    cursor = json.loads(base64.urlsafe_b64decode(token + "=="))
    forged = [{**cursor, key: value} for key in cursor for value in FORGED]
    forged += [{other: value for other, value in cursor.items() if other != key} for key in cursor]
    wrong = []
    for content in forged:
        text = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
        if problem := judge(RPCS[name], await refuse_token(channel, name, text)):
            wrong.append(f"{content} {problem}")
    assert not wrong, "\n".join(wrong)
