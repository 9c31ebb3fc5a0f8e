"""The schema of analytics: the readable whole, privileges, and statements that keep to their indexes."""

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from deploy.local.postgres import Cluster
from services.analytics.store.recount import ROLLUPS
from services.common.statements import load_statements
from tests.analytics_factories import add_catalog, event, ingest, running_server
from tests.plans import NO_SCANS, explain
from tests.schema_files import dump_schema_file, dump_schemas

STATEMENTS = load_statements("services.analytics")
MULTIPLE = {"open_attribution", "open_batch"}
PUBLISHED = {
    "campaigns": "campaign_id campaign_name campaign_type merchant_id channel offer_amount_micros"
    " gross_margin_rate currency_code start_at end_at",
    "merchants": "merchant_id merchant_name category latitude longitude currency_code",
    "users": "user_id sign_up_at time_zone segments segment_set_id",
    "segment_sets": "segment_set_id segments",
    "campaign_user_events": "campaign_id user_id event_id event_type event_at merchant_id revenue_micros"
    " cost_micros offer_amount_micros channel is_machine_open custom_event_name propensity policy_version"
    " counted_at original_event_id",
    "user_activity_daily": "user_id day currency_code events acts purchases revenue_micros cost_micros",
    "purchases": "user_id event_id merchant_id event_at revenue_micros",
    "campaign_offer_daily": "campaign_id day offer_amount_micros impressions views clicks conversions"
    " revenue_micros cost_micros",
    "user_events": "user_id event_id event_type event_at received_at campaign_id merchant_id channel"
    " segment_set_id offer_amount_micros revenue_micros cost_micros currency_code is_machine_open propensity"
    " policy_version original_event_id",
    "campaign_channel_daily": "campaign_id day channel impressions views clicks conversions revenue_micros"
    " cost_micros",
    "campaign_segment_moments": "campaign_id segmentation segment_name users impressions views conversions"
    " revenue_micros impressions_impressions impressions_views views_views views_conversions"
    " conversions_conversions",
    "user_rfm": "user_id recency_days frequency monetary_micros segment_name as_of currency_code",
    "reporting_settings": "reporting_time_zone sealed_through",
}


async def test_the_schema_file_equals_the_migrations(
    database: DatabaseAddresses, postgres_server: Cluster
) -> None:
    from_file = await dump_schema_file(postgres_server, "analytics")
    assert "CREATE TABLE analytics.events" in from_file
    assert from_file == dump_schemas(database.admin, "analytics")


async def test_every_statement_is_valid_for_the_services_role(database: DatabaseAddresses) -> None:
    connection = await asyncpg.connect(database.analytics)
    try:
        for name in ("open_batch", "open_attribution"):  # these make temporary tables that others name
            await connection.execute(STATEMENTS[name].sql)
        for name in STATEMENTS.keys() - MULTIPLE:
            await connection.prepare(STATEMENTS[name].sql)
    finally:
        await connection.close()


async def test_every_rollup_can_be_compared_and_rebuilt() -> None:
    for rollup in ROLLUPS:
        assert {f"list_differences_of_{rollup}", f"clear_{rollup}", f"rebuild_{rollup}"} <= STATEMENTS.keys()


async def test_the_published_views_have_their_columns_and_readers(database: DatabaseAddresses) -> None:
    for url in (database.abtest, database.optimizer, database.analytics, database.reporting):
        connection = await asyncpg.connect(url)
        try:
            for view, columns in PUBLISHED.items():
                statement = await connection.prepare(f"select * from analytics_v1.{view}")
                assert [a.name for a in statement.get_attributes()] == columns.split(), view
        finally:
            await connection.close()


async def test_the_services_role_changes_rows_and_nothing_else(database: DatabaseAddresses) -> None:
    connection = await asyncpg.connect(database.analytics)
    try:
        for statement in (
            "drop table events",
            "truncate events",
            "alter table events add column x integer",
            "create table analytics.mine ()",
            "insert into analytics_v1.users (user_id) values ('x')",
            "create role intruder",
        ):
            with pytest.raises(
                (asyncpg.InsufficientPrivilegeError, asyncpg.ObjectNotInPrerequisiteStateError)
            ):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_published_events_and_offers_are_what_was_sent(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics) as stubs:
        await add_catalog(stubs)
        await ingest(
            stubs,
            event("a", offer_amount=5),
            event("b", "CONVERTED", offer_amount=5, revenue=9.5),
            event("r", "REFUNDED", original_event_id="b", revenue=2, event_time="2026-03-05T00:00:00+00:00"),
            event("n", "VIEWED"),
            event("p", "CONVERTED", campaign_id=None, merchant_id=1, revenue=3),
        )
    connection = await asyncpg.connect(database.optimizer)
    try:
        offers = await connection.fetch(
            "select day::text, offer_amount_micros, impressions, views, conversions, revenue_micros"
            " from analytics_v1.campaign_offer_daily order by 2"
        )
        events = await connection.fetch(
            "select event_id, event_type from analytics_v1.campaign_user_events order by 1"
        )
        purchases = await connection.fetch("select event_id, revenue_micros from analytics_v1.purchases")
    finally:
        await connection.close()
    assert [tuple(row) for row in offers] == [
        ("2026-03-01", 5_000_000, 1, 0, 1, 7_500_000),
        ("2026-03-01", None, 0, 1, 0, 0),
    ]
    assert [tuple(row) for row in events] == [("a", 1), ("b", 4), ("n", 2), ("r", 5)]
    assert [tuple(row) for row in purchases] == [("p", 3_000_000)]


async def test_the_performance_views_read_well(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics) as stubs:
        await add_catalog(stubs)
        await ingest(stubs, event("a", cost=2), event("b", "VIEWED"), event("c", "CONVERTED", revenue=5))
    connection = await asyncpg.connect(database.reporting)
    try:
        campaign = await connection.fetchrow(
            "select roas, conversion_rate, profit_micros, currency_code from campaign_performance"
        )
        days = await connection.fetch(
            "select day::text, revenue_micros, purchases from portfolio_performance_daily"
        )
    finally:
        await connection.close()
    assert campaign is not None
    assert tuple(campaign) == (2.5, 1.0, 3_000_000, "USD")
    assert [tuple(row) for row in days] == [("2026-03-01", 5_000_000, 0)]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("fetch_campaign_life", "'c1'", {"campaign_totals_pkey", "campaigns_pkey"}),
        ("fetch_campaign_days_bounds", "'c1'", {"campaign_analytics_daily_pkey"}),
        (
            "list_campaign_days",
            "'c1', '2026-01-01', '2026-03-31'",
            {"Index Only Scan", "campaign_analytics_daily_pkey"},
        ),
        ("list_campaign_hours", "'c1', '2026-01-01', '2026-03-31'", {"campaign_trend_data_pkey"}),
        (
            "fetch_range_user_moments",
            "'c1', '2026-01-01', '2026-03-31'",
            {
                "Index Only Scan using events_campaign_time_idx",
                "Index Only Scan using events_refund_counted_idx",
            },
        ),
        (
            "list_channel_user_moments",
            "'c1', '2026-01-01', '2026-03-31'",
            {"events_campaign_time_idx", "events_refund_counted_idx"},
        ),
        (
            "fetch_window_totals",
            "'c1', '2026-01-01', '2026-03-31'",
            {
                "Index Only Scan using campaign_analytics_daily_pkey",
                "campaign_delivery_daily_pkey",
                "campaign_daily_costs_pkey",
            },
        ),
        ("list_campaign_lives", "array['c1', 'c2']", {"campaign_totals_pkey", "campaigns_pkey"}),
        (
            "list_campaign_channels",
            "'c1', '2026-01-01', '2026-03-31'",
            {"campaign_delivery_daily_pkey", "campaign_daily_costs_pkey"},
        ),
        ("list_shared_user_sums", "'c1', array['c2', 'c3']", {"campaign_user_totals_pkey"}),
        ("list_compared_segments", "array['c1', 'c2']", {"campaign_segment_analytics_pkey"}),
        ("list_portfolio_days", "'2026-01-01', '2026-03-31'", {"portfolio_analytics_daily_pkey"}),
        (
            "list_portfolio_sides",
            (
                "'2026-03-02', '2026-03-31', null, null,"
                " '2026-01-31', '2026-02-28', '2026-03-01', '2026-03-01 10:00', true"
            ),
            {"portfolio_analytics_daily_pkey", "portfolio_analytics_hourly_pkey", "events_counted_idx"},
        ),
        (
            "count_portfolio_campaigns",
            "'2026-03-02', '2026-03-30', '2026-03-31', '2026-03-31 10:00'",
            {"campaign_analytics_daily_day_idx", "campaign_trend_data_pkey", "events_counted_idx"},
        ),
        ("list_stored_events", "array['u1'], array['e1']", {"events_pkey"}),
        ("list_refunds_of_originals", "array['u1'], array['e1']", {"events_original_idx"}),
        ("list_campaign_stamps", "array['c1']", {"campaigns_pkey"}),
        ("list_campaigns", "'c1', 10", {"campaigns_pkey"}),
        ("list_users", "'u1', 10", {"users_pkey"}),
        ("list_merchants", "1, 10", {"merchants_pkey"}),
        ("fetch_merchant", "1", {"merchants_pkey"}),
        (
            "list_costs",
            "'c1', '2026-01-01', 0, '2026-01-01', '2026-03-31', 50",
            {"Index Only Scan using campaigns_pkey", "Index Scan using campaign_daily_costs_pkey"},
        ),
        (
            "list_campaign_costs",
            "'c1', '2026-01-01', 0, '2026-01-01', '2026-03-31', 50",
            {"Index Scan using campaign_daily_costs_pkey"},
        ),
        ("list_forecasts", "'c1', ''", {"forecasts_pkey"}),
        ("list_forecast_points", "'c1', '', 28", {"forecast_points_pkey"}),
        (
            "rank_campaigns_by_users",
            "'2026-03-01', '2026-03-31', '2026-03-01', '2026-04-01', 100, '', 10",
            {"Index Only Scan using events_campaign_time_idx", "campaign_analytics_daily_pkey"},
        ),
    ],
)
async def test_hot_statements_keep_to_their_indexes(
    database: DatabaseAddresses, name: str, arguments: str, expected: set[str]
) -> None:
    settings = f"{NO_SCANS}; set enable_sort = off"
    if name in {
        "fetch_range_user_moments",
        "list_campaign_costs",
        "list_campaign_days",
        "list_costs",
        "rank_campaigns_by_users",
    }:
        settings += "; set enable_bitmapscan = off"
    if name in {"list_portfolio_sides", "count_portfolio_campaigns"}:
        settings += "; set enable_indexscan = off; set enable_indexonlyscan = off; set enable_sort = on"
    plan = await explain(database.analytics, STATEMENTS[name].sql, arguments, settings=settings)
    for words in expected:
        assert words in plan, plan


async def test_the_batch_statement_scans_no_rollup(database: DatabaseAddresses) -> None:
    """However large a rollup is, a batch touches the rows it changes and no others."""
    connection = await asyncpg.connect(database.analytics)
    try:
        await connection.execute(STATEMENTS["open_batch"].sql)
        plan = await connection.fetch(f"explain {STATEMENTS['insert_events'].sql.replace('$1', '0')}")
    finally:
        await connection.close()
    lines = "\n".join(row[0] for row in plan)
    for rollup in (*ROLLUPS, "events"):
        assert f"Scan on {rollup} " not in lines, lines
        assert f"Insert on {rollup}" in lines, lines
