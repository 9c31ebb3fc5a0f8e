"""ImportCosts and ListCosts, through a real server and stub."""

import asyncio
from typing import Any

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from gen.campaigns.analytics.v1 import catalog_service_pb2, costs_pb2
from services.analytics.operations.costs import MAXIMUM_WAITING
from services.analytics.operations.recount import RecountOperations
from services.analytics.server import open_database
from services.common.paging import decode_page_token, encode_page_token
from tests.analytics_factories import (
    Stubs,
    add_catalog,
    campaign,
    event,
    ingest,
    refusal,
    running_server,
    settings_for,
)


def cost(amount: float | None = 5.0, **fields: Any) -> costs_pb2.DailyCost:  # noqa: ANN401
    """A cost of campaign c1 on 2026-03-01, unless told otherwise."""
    values = {"campaign_id": "c1", "cost_date": "2026-03-01", **fields}
    return costs_pb2.DailyCost(cost=amount, **values)


async def import_costs(stubs: Stubs, *costs: costs_pb2.DailyCost) -> costs_pb2.ImportCostsResponse:
    return await stubs.analytics.ImportCosts(costs_pb2.ImportCostsRequest(costs=costs))


async def list_costs(stubs: Stubs, **fields: Any) -> costs_pb2.ListCostsResponse:  # noqa: ANN401
    return await stubs.analytics.ListCosts(costs_pb2.ListCostsRequest(**fields))


def reasons(answer: costs_pb2.ImportCostsResponse) -> list[tuple[int, str, str]]:
    return [(r.index, r.field, r.reason) for r in answer.rejections]


async def metrics_of(stubs: Stubs, campaign_id: str = "c1") -> pb.GetCampaignMetricsResponse:
    return await stubs.analytics.GetCampaignMetrics(pb.GetCampaignMetricsRequest(campaign_id=campaign_id))


async def differences(database: DatabaseAddresses) -> list[Any]:
    async with open_database(settings_for(database.analytics)) as opened:
        return list(await RecountOperations(opened).reconcile())


async def test_costs_count_wherever_cost_is_shown(stubs: Stubs, database: DatabaseAddresses) -> None:
    await ingest(stubs, event("a", cost=1.5), event("b", "CONVERTED", revenue=20))
    answer = await import_costs(
        stubs,
        cost(2.25),
        cost(4, channel=2),
        cost(0.000001, cost_date="2026-03-30"),
    )
    assert (answer.accepted_count, answer.unchanged_count, list(answer.rejections)) == (3, 0, [])
    metrics = await metrics_of(stubs)
    assert metrics.cost == 7.750001
    assert metrics.roas == pytest.approx(20 / 7.750001)
    trend = await stubs.analytics.GetCampaignTrend(pb.GetCampaignTrendRequest(campaign_id="c1"))
    assert {p.period: p.cost for p in trend.points if p.cost} == {
        "2026-03-01": 7.75,
        "2026-03-30": 0.000001,
    }
    portfolio = await stubs.analytics.GetPortfolioPerformance(
        pb.GetPortfolioPerformanceRequest(start_date="2026-03-01", end_date="2026-03-31")
    )
    assert portfolio.totals.cost == 7.750001
    assert await differences(database) == []


async def test_the_same_costs_again_change_nothing_and_another_amount_replaces(
    stubs: Stubs, database: DatabaseAddresses
) -> None:
    sent = [cost(5), cost(7, channel=1), cost(0, campaign_id="c2")]
    first = await import_costs(stubs, *sent)
    again = await import_costs(stubs, *sent)
    assert (first.accepted_count, first.unchanged_count) == (3, 0)
    assert (again.accepted_count, again.unchanged_count) == (3, 3)
    assert (await metrics_of(stubs)).cost == 12
    changed = await import_costs(stubs, cost(2), cost(7, channel=1), cost(0, channel=2))
    assert (changed.accepted_count, changed.unchanged_count) == (3, 1)
    assert (await metrics_of(stubs)).cost == 9
    taken_back = await import_costs(stubs, cost(0), cost(0, channel=1))
    assert taken_back.accepted_count == 2
    metrics = await metrics_of(stubs)
    assert (metrics.cost, metrics.HasField("roas")) == (0, False)
    assert await differences(database) == []


async def test_bad_costs_are_rejected_by_field_and_the_rest_is_kept(stubs: Stubs) -> None:
    answer = await import_costs(
        stubs,
        cost(1),
        cost(1, campaign_id="nobody"),
        cost(1, campaign_id=""),
        cost(1, campaign_id="odd\0"),
        cost(1, campaign_id="x" * 129),
        cost(1, channel=9),
        cost(1, cost_date=""),
        cost(1, cost_date="2026-02-30"),
        cost(1, cost_date="2026-3-1"),
        cost(1, cost_date="1999-12-31"),
        cost(1, cost_date="2026-04-01"),
        cost(None, cost_date="2026-03-02"),
        cost(-1),
        cost(float("nan")),
        cost(float("inf")),
        cost(1e9 + 1),
        cost(0.1234567),
        cost(2),
        cost(1),
        cost(3, cost_date="2026-03-31", currency_code="EUR"),
        cost(3, cost_date="2026-03-31", currency_code="USD"),
    )
    assert (answer.accepted_count, answer.unchanged_count) == (3, 1)
    assert reasons(answer) == [
        (1, "campaign_id", "CAMPAIGN_UNKNOWN"),
        (2, "campaign_id", "FIELD_REQUIRED"),
        (3, "campaign_id", "TEXT_INVALID"),
        (4, "campaign_id", "TEXT_INVALID"),
        (5, "channel", "VALUE_UNKNOWN"),
        (6, "cost_date", "FIELD_REQUIRED"),
        (7, "cost_date", "DATE_INVALID"),
        (8, "cost_date", "DATE_INVALID"),
        (9, "cost_date", "TIME_OUT_OF_RANGE"),
        (10, "cost_date", "TIME_OUT_OF_RANGE"),
        (11, "cost", "FIELD_REQUIRED"),
        (12, "cost", "MONEY_OUT_OF_RANGE"),
        (13, "cost", "MONEY_NOT_FINITE"),
        (14, "cost", "MONEY_NOT_FINITE"),
        (15, "cost", "MONEY_OUT_OF_RANGE"),
        (16, "cost", "MONEY_TOO_PRECISE"),
        (17, "cost", "DUPLICATE_ENTRY"),
        (19, "currency_code", "CURRENCY_CONFLICT"),
    ]
    assert all(rejection.message for rejection in answer.rejections)
    assert (await metrics_of(stubs)).cost == 4


async def test_nothing_but_bad_costs_changes_nothing(stubs: Stubs) -> None:
    answer = await import_costs(stubs, cost(-1), cost(1, campaign_id="nobody"))
    assert (answer.accepted_count, len(answer.rejections)) == (0, 2)
    assert (await metrics_of(stubs)).currency_code == ""


async def test_an_empty_and_an_oversized_request_are_one_status(stubs: Stubs) -> None:
    empty = await refusal(import_costs(stubs))
    assert (empty.code, empty.fields) == ("INVALID_ARGUMENT", {"costs": "FIELD_REQUIRED"})
    large = await refusal(import_costs(stubs, *[cost(1)] * 10_001))
    assert (large.code, large.reason) == ("RESOURCE_EXHAUSTED", "BATCH_TOO_LARGE")


async def test_the_first_cost_fixes_the_currency(stubs: Stubs) -> None:
    euro = campaign("e1", merchant_id=2)
    await stubs.catalog.UpsertCampaigns(catalog_service_pb2.UpsertCampaignsRequest(campaigns=[euro]))
    await import_costs(stubs, cost(3, campaign_id="e1"))
    assert (await metrics_of(stubs, "e1")).currency_code == "EUR"
    dollars = campaign("e1", currency_code="USD")
    refused = await refusal(
        stubs.catalog.UpsertCampaigns(catalog_service_pb2.UpsertCampaignsRequest(campaigns=[dollars]))
    )
    assert refused.reason == "CURRENCY_CONFLICT"
    portfolio = await stubs.analytics.GetPortfolioPerformance(
        pb.GetPortfolioPerformanceRequest(start_date="2026-03-01", end_date="2026-03-01")
    )
    assert {c.currency_code: c.totals.cost for c in portfolio.currencies} == {"EUR": 3}


async def test_costs_are_listed_in_pages_by_campaign_and_days(stubs: Stubs) -> None:
    sent = [
        cost(day, campaign_id=name, channel=channel, cost_date=f"2026-03-{day:02d}")
        for name in ("c2", "c1")
        for day in (3, 1, 2)
        for channel in (1, 0)
    ]
    await import_costs(stubs, *sent)
    everything = await list_costs(stubs)
    keys = [(c.campaign_id, c.cost_date, c.channel) for c in everything.costs]
    assert (len(keys), keys, everything.next_page_token) == (12, sorted(keys), "")
    assert {(c.cost, c.currency_code) for c in everything.costs} == {(n, "USD") for n in (1.0, 2.0, 3.0)}
    for chosen, expected in (
        ({"campaign_id": "c1"}, keys[:6]),
        ({"start_date": "2026-03-02"}, [k for k in keys if k[1] >= "2026-03-02"]),
        ({"end_date": "2026-03-02", "campaign_id": "c2"}, [k for k in keys[6:] if k[1] <= "2026-03-02"]),
        ({"campaign_id": "nobody"}, []),
    ):
        paged: list[tuple[str, str, int]] = []
        token = ""
        while True:
            page = await list_costs(stubs, **chosen, page_size=1, page_token=token)
            paged += [(c.campaign_id, c.cost_date, c.channel) for c in page.costs]
            token = page.next_page_token
            if not token:
                break
        assert paged == expected


async def test_a_token_goes_with_its_list(stubs: Stubs) -> None:
    await import_costs(stubs, cost(1), cost(2, channel=1))
    token = (await list_costs(stubs, page_size=1)).next_page_token
    cursor = decode_page_token(token)
    tampered = [encode_page_token({**cursor, **change}) for change in ({"day": "soon"}, {"channel": 9})]
    for fields in (
        {"campaign_id": "c1", "page_token": token},
        *({"page_token": other} for other in ("e30", "x", *tampered)),
    ):
        refused = await refusal(list_costs(stubs, **fields))
        assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", {"page_token": "PAGE_TOKEN_INVALID"})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"start_date": "2026-03-02", "end_date": "2026-03-01"}, {"end_date": "RANGE_REVERSED"}),
        ({"start_date": "yesterday"}, {"start_date": "DATE_INVALID"}),
        ({"end_date": "9999-12-31"}, {"end_date": "VALUE_OUT_OF_RANGE"}),
        ({"page_size": -1}, {"page_size": "VALUE_OUT_OF_RANGE"}),
        ({"campaign_id": "a\0"}, {"campaign_id": "TEXT_INVALID"}),
    ],
)
async def test_bad_filters_are_refused_by_field(
    stubs: Stubs, fields: dict[str, Any], expected: dict[str, str]
) -> None:
    refused = await refusal(list_costs(stubs, **fields))
    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", expected)


async def test_importers_beside_senders_are_exact_and_never_deadlock(database: DatabaseAddresses) -> None:
    """Two importers of the same days in opposite orders, beside batches that touch the same rows."""
    async with (
        running_server(database.analytics, concurrent_batches=4) as one,
        running_server(database.analytics, concurrent_batches=4) as other,
    ):
        await add_catalog(one)
        days = [f"2026-03-{day:02d}" for day in range(1, 29)]
        costs = [cost(n, campaign_id=f"c{1 + n % 2}", cost_date=day) for n, day in enumerate(days)]
        imports = [
            import_costs(stubs, *(reversed(costs) if turn % 2 else costs))
            for turn in range(6)
            for stubs in (one, other)
        ]
        sends = [
            ingest(
                stubs,
                *(event(f"{turn}-{n}", campaign_id=f"c{1 + n % 2}", cost=0.5) for n in range(40)),
            )
            for turn in range(6)
            for stubs in (one, other)
        ]
        imported, sent = await asyncio.gather(asyncio.gather(*imports), asyncio.gather(*sends))
        assert sum(answer.accepted_count for answer in imported) == 12 * 28
        assert sum(answer.accepted_count for answer in sent) == 6 * 40
        totals = [(await metrics_of(one, name)).cost for name in ("c1", "c2")]
        assert sum(totals) == sum(range(28)) + 6 * 40 * 0.5
    assert await differences(database) == []


async def test_imports_beyond_the_queue_are_refused_at_once(
    stubs: Stubs, database: DatabaseAddresses
) -> None:
    """The blocker stands for a rebuild: imports wait for it, and reads do not wait for them."""
    blocker = await asyncpg.connect(database.admin)
    try:
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("select pg_advisory_xact_lock(7202, 1)")
        calls = [asyncio.ensure_future(import_costs(stubs, cost(1))) for _ in range(MAXIMUM_WAITING + 2)]
        done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        refused = await refusal(done.pop())
        assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_WAITING")
        assert (await metrics_of(stubs)).cost == 0
        await transaction.rollback()
        answers = await asyncio.gather(*waiting)
    finally:
        await blocker.close()
    assert sorted(answer.unchanged_count for answer in answers) == [0] + [1] * MAXIMUM_WAITING


async def test_ten_thousand_costs_are_one_request(stubs: Stubs, database: DatabaseAddresses) -> None:
    names = [f"m{n}" for n in range(100)]
    await stubs.catalog.UpsertCampaigns(
        catalog_service_pb2.UpsertCampaignsRequest(campaigns=[campaign(name) for name in names])
    )
    days = [f"2025-{month:02d}-{day:02d}" for month in (1, 2, 3, 4) for day in range(1, 26)]
    sent = [cost(1, campaign_id=name, cost_date=day) for name in names for day in days]
    answer = await import_costs(stubs, *sent)
    assert (answer.accepted_count, answer.unchanged_count) == (10_000, 0)
    assert (await import_costs(stubs, *sent)).unchanged_count == 10_000
    assert (await metrics_of(stubs, "m7")).cost == 100
    assert await differences(database) == []
