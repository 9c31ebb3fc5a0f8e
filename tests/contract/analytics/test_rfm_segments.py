"""ListRfmSegments and the published view, through a real server and a real stub."""

import asyncpg

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import audience_pb2 as pb
from gen.campaigns.analytics.v1 import events_pb2
from services.analytics.domain.rfm import DEFINITIONS
from services.analytics.server import open_database
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
from tests.audience_factories import AudienceJobs


def buy(user: str, day: str, *revenues: float, **fields: object) -> list[events_pb2.Event]:
    """Plain purchases of a user on a day of March 2026."""
    values = {"campaign_id": None, "merchant_id": 1, **fields}
    return [
        event(
            f"{user}-{day}-{n}",
            "CONVERTED",
            user_id=user,
            event_time=f"2026-03-{day}T12:00:00+00:00",
            revenue=revenue,
            **values,
        )
        for n, revenue in enumerate(revenues)
    ]


async def ask(stubs: Stubs, currency_code: str = "") -> pb.ListRfmSegmentsResponse:
    return await stubs.analytics.ListRfmSegments(pb.ListRfmSegmentsRequest(currency_code=currency_code))


async def read_view(url: str) -> dict[tuple[str, str], tuple[int, int, int, str]]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "select user_id, currency_code, recency_days, frequency, monetary_micros, segment_name, as_of"
            " from analytics_v1.user_rfm"
        )
    finally:
        await connection.close()
    assert all(row["as_of"].isoformat().startswith("2026-03-31") for row in rows)
    return {(r[0], r[1]): (r[2], r[3], r[4], r[5]) for r in rows}


async def test_users_are_scored_by_fifths_and_refunds_are_taken_off(database: DatabaseAddresses) -> None:
    """Ten buyers with one to ten purchases of 10 each, the more the later, and two who give back."""
    async with (
        running_server(database.analytics) as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await add_catalog(stubs, campaign("c1"))
        jobs = AudienceJobs.of(own)
        assert await jobs.rfm.refresh() == 0, "users' days are counted first"
        empty = await ask(stubs)
        for place in range(1, 11):
            await ingest(stubs, *buy(f"u{place:02}", f"{10 + place}", *[10.0] * place))
        await ingest(
            stubs,
            *buy("gone", "20", 50),
            *buy("half", "11", 10, campaign_id="c1"),
            event(
                "r1",
                "REFUNDED",
                user_id="gone",
                campaign_id=None,
                merchant_id=1,
                revenue=50,
                original_event_id="gone-20-0",
                event_time="2026-03-21T00:00:00+00:00",
            ),
            event(
                "r2",
                "REFUNDED",
                user_id="half",
                revenue=4,
                original_event_id="half-11-0",
                event_time="2026-03-21T00:00:00+00:00",
            ),
            event("v", "VIEWED", user_id="only views"),
        )
        await jobs.run()
        answer = await ask(stubs)
        view = await read_view(database.optimizer)
        await jobs.run()
        again = await ask(stubs)
    assert not empty.segments
    assert not empty.HasField("as_of")
    # Of eleven: the one wholly refunded is out. Days 11 (twice) to 20, so recency 20, 20, 19, ... 11.
    assert view["half", "USD"] == (20, 1, 6_000_000, "lost")
    assert view["u10", "USD"] == (11, 10, 100_000_000, "champions")
    assert ("gone", "USD") not in view
    assert ("only views", "USD") not in view
    assert len(view) == 11
    # Fifths of eleven, from u01 to u10: recency 1 2 2 3 3 4 4 5 5 5, frequency and money 1 1 2 2 3 3 4 4 5 5.
    assert [view[f"u{n:02}", "USD"][3] for n in range(1, 11)] == [
        "lost",
        "hibernating",
        "hibernating",
        "about_to_sleep",
        "need_attention",
        "potential_loyalists",
        "loyal",
        "champions",
        "champions",
        "champions",
    ]
    assert {s.segment_name for s in answer.segments} == set(DEFINITIONS)
    revenues = [s.revenue for s in answer.segments]
    assert revenues == sorted(revenues, reverse=True)
    assert sum(revenues) == 10 * 55 + 6
    best = answer.segments[0]
    assert (best.segment_name, best.users, best.revenue) == ("champions", 3, 270.0)
    assert best.user_share == 3 / 11
    assert best.revenue_share == 270 / 556
    assert (best.mean_recency_days, best.mean_frequency, best.mean_monetary) == (12, 9, 90)
    assert "recency and value scores 54, 55" in best.definition
    nobody = next(s for s in answer.segments if s.segment_name == "new")
    assert (nobody.users, nobody.revenue) == (0, 0.0)
    assert not nobody.HasField("mean_frequency")
    assert again.segments == answer.segments, "a second run changes nothing"


async def test_a_user_who_gives_all_back_leaves(database: DatabaseAddresses) -> None:
    async with (
        running_server(database.analytics) as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await add_catalog(stubs)
        jobs = AudienceJobs.of(own)
        await ingest(stubs, *buy("a", "01", 5, 6), *buy("b", "02", 7))
        await jobs.run()
        assert set(await read_view(database.admin)) == {("a", "USD"), ("b", "USD")}
        refund = {"campaign_id": None, "merchant_id": 1, "event_time": "2026-03-09T00:00:00+00:00"}
        await ingest(
            stubs,
            event("r1", "REFUNDED", user_id="b", revenue=3, original_event_id="b-02-0", **refund),
            event("r2", "REFUNDED", user_id="a", revenue=6, original_event_id="a-01-1", **refund),
        )
        await jobs.run()
        partly = await read_view(database.admin)
        await ingest(
            stubs, event("r3", "REFUNDED", user_id="b", revenue=4, original_event_id="b-02-0", **refund)
        )
        await jobs.run()
        wholly = await read_view(database.admin)
    assert partly["a", "USD"][1:3] == (1, 5_000_000)
    assert partly["b", "USD"][1:3] == (1, 4_000_000)
    assert set(wholly) == {("a", "USD")}


async def test_currencies_are_kept_apart_and_named_where_there_are_two(database: DatabaseAddresses) -> None:
    async with (
        running_server(database.analytics) as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await add_catalog(stubs)
        await ingest(stubs, *buy("a", "01", 5), *buy("a", "02", 7, merchant_id=2))
        await AudienceJobs.of(own).run()
        view = await read_view(database.abtest)
        unnamed = await refusal(ask(stubs))
        euro, dollar, yen = await ask(stubs, "EUR"), await ask(stubs, "USD"), await ask(stubs, "JPY")
        wrong = await refusal(ask(stubs, "euros"))
    assert view["a", "USD"][1:3] == (1, 5_000_000)
    assert view["a", "EUR"][1:3] == (1, 7_000_000)
    assert (unnamed.code, unnamed.reason) == ("INVALID_ARGUMENT", "CURRENCY_REQUIRED")
    assert unnamed.fields == {"currency_code": "CURRENCY_REQUIRED"}
    assert "EUR, USD" in unnamed.message
    assert wrong.fields == {"currency_code": "TEXT_INVALID"}
    assert sum(s.revenue for s in euro.segments) == 7
    assert sum(s.revenue for s in dollar.segments) == 5
    assert sum(s.users for s in yen.segments) == 0
