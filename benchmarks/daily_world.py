"""A portfolio with years of daily rows, written straight into the rollups: history without its events.

Reads cost what their rollups hold, not what was once ingested, so no event is needed. The figures are
pseudo-random functions of campaign and day. Days are written in their order, as they are in production.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from time import perf_counter

import asyncpg

from benchmarks.common import say

LAST_DAY = date(2026, 3, 31)
PORTFOLIO_SLOTS = 16

# What each world's rollups hold. `hashint8extended` spreads; the constants make campaigns of unlike size.
_CAMPAIGNS = """
insert into analytics.campaigns (campaign_id, campaign_name, campaign_type, counted_currency_code)
select 'campaign-' || lpad(number::text, 6, '0'), 'Campaign ' || number, 1 + number % 7, 'USD'
from generate_series(1, $1::integer) as number
"""
_DAYS = """
insert into analytics.campaign_analytics_daily
    (campaign_id, day, impressions, views, clicks, conversions, revenue_micros, cost_micros)
select
    'campaign-' || lpad(number::text, 6, '0'),
    day::date,
    volume,
    volume * (40 + (noise >> 8) % 20) / 100,
    volume * (8 + (noise >> 16) % 6) / 100,
    volume * (2 + (noise >> 24) % 4) / 100,
    volume * (2 + (noise >> 24) % 4) / 100 * (10000000 + (noise >> 32) % 20000000),
    volume * (150000 + (number % 13) * 10000)
from generate_series($2::date, $3::date, interval '1 day') as day
cross join generate_series(1, $1::integer) as number
cross join lateral (
    select hashint8extended(number, extract(epoch from day)::bigint) & 9223372036854775807 as noise
) as drawn
cross join lateral (select 20 + (noise % 400) * (1 + number % 5) as volume) as sized
"""
_WEEKS = """
insert into analytics.campaign_analytics_weekly
    (campaign_id, week, impressions, views, clicks, conversions, revenue_micros, cost_micros)
select
    campaign_id, date_trunc('week', day::timestamp)::date as week, sum(impressions), sum(views), sum(clicks),
    sum(conversions), sum(revenue_micros), sum(cost_micros)
from analytics.campaign_analytics_daily
group by campaign_id, week
order by week, campaign_id
"""
_PORTFOLIO_DAYS = """
insert into analytics.portfolio_analytics_daily
    (day, currency_code, slot, impressions, views, clicks, conversions, revenue_micros, cost_micros,
    purchases, purchase_revenue_micros)
select
    day, 'USD', slot, sum(impressions), sum(views), sum(clicks), sum(conversions), sum(revenue_micros),
    sum(cost_micros), count(*), sum(revenue_micros) / 10
from analytics.campaign_analytics_daily
cross join lateral (
    -- The slots of days that are over have become one.
    select case when day = $2::date then right(campaign_id, 6)::integer % $1::integer else 0 end as slot
) as spread
group by day, slot
order by day, slot
"""

# Sums over users as they would be with five events a user; how large they are costs a read nothing.
_TOTALS = """
insert into analytics.campaign_totals (
    campaign_id, users, reached_users, converting_users, paying_users, impressions, views, clicks,
    conversions, revenue_micros, cost_micros, impressions_impressions, impressions_views, impressions_clicks,
    views_views,
    views_conversions, clicks_clicks, conversions_conversions, impressions_revenue, conversions_cost,
    revenue_revenue, revenue_cost, cost_cost
)
select
    campaign_id, i / 5, i / 5, c, c, i, v, k, c, r, o, i * 7, v * 7, k * 7, v * 5, c * 4, k * 2, c,
    r::numeric * 7, o::numeric, r::numeric * r / c, r::numeric * o / i * 7, o::numeric * o / i * 7
from (
    select
        campaign_id, sum(impressions)::bigint as i, sum(views)::bigint as v, sum(clicks)::bigint as k,
        greatest(sum(conversions), 1)::bigint as c, sum(revenue_micros)::bigint as r,
        sum(cost_micros)::bigint as o
    from analytics.campaign_analytics_daily
    group by campaign_id
) as summed
"""
_ZONE = "insert into analytics.reporting_settings (reporting_time_zone) values ('UTC')"
_WINDOW = "insert into analytics.rolling_window (end_day) values ($1)"
_LAST_30_DAYS = """
insert into analytics.campaign_last_30_days
    (campaign_id, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros)
select
    campaign_id, 'USD', sum(impressions), sum(views), sum(clicks), sum(conversions), sum(revenue_micros),
    sum(cost_micros)
from analytics.campaign_analytics_daily
where day > $1::date - 30
group by campaign_id
"""
_PORTFOLIO_LAST_30_DAYS = """
insert into analytics.portfolio_last_30_days (
    currency_code, slot, campaigns, campaigns_with_cost, roas_nanos, impressions, views, clicks, conversions,
    revenue_micros, cost_micros, purchases, purchase_revenue_micros, notification_deliveries,
    notification_opens, geofence_entries, unsubscribes
)
select
    'USD', slot, count(*), count(*), sum(roas_nanos), sum(impressions), sum(views), sum(clicks),
    sum(conversions), sum(revenue_micros), sum(cost_micros), count(*), sum(revenue_micros) / 10, 0, 0, 0, 0
from analytics.campaign_last_30_days
cross join lateral (select right(campaign_id, 6)::integer % $1::integer as slot) as spread
group by slot
"""


@dataclass(frozen=True, kw_only=True)
class World:
    """How much history there is: campaigns that all run every day, up to `LAST_DAY`."""

    campaigns: int
    days: int

    @property
    def first_day(self) -> date:
        """The first day with rows."""
        return LAST_DAY - timedelta(days=self.days - 1)

    @property
    def name(self) -> str:
        """The world in words."""
        return f"{self.campaigns:,} campaigns x {self.days:,} days"


async def write_world(admin_url: str, world: World) -> None:
    """Fill the empty rollups of a database, as its administrator; two minutes for 18 million rows."""
    started = perf_counter()
    connection = await asyncpg.connect(admin_url)
    try:
        await connection.execute("set synchronous_commit = off; set maintenance_work_mem = '1GB'")
        await connection.execute("set max_parallel_maintenance_workers = 2")
        await _write_days(connection, world)
        await connection.execute(_WEEKS)
        await connection.execute(_PORTFOLIO_DAYS, PORTFOLIO_SLOTS, LAST_DAY)
        await connection.execute(_TOTALS)
        await connection.execute(_ZONE)
        await connection.execute(_WINDOW, LAST_DAY)
        await connection.execute(_LAST_30_DAYS, LAST_DAY)
        await connection.execute(_PORTFOLIO_LAST_30_DAYS, PORTFOLIO_SLOTS)
        await connection.execute("vacuum (analyze, freeze)")
    finally:
        await connection.close()
    say(f"{world.name}: written in {perf_counter() - started:.0f} s")


async def _write_days(connection: asyncpg.Connection, world: World) -> None:
    """Write campaigns and their days; the primary key is built afterwards, in a third of the time."""
    key = await connection.fetchval(
        "select pg_get_constraintdef(oid) from pg_constraint where conname = 'campaign_analytics_daily_pkey'"
    )
    alter = "alter table analytics.campaign_analytics_daily"
    await connection.execute(_CAMPAIGNS, world.campaigns)
    async with connection.transaction():
        await connection.execute("truncate analytics.campaign_analytics_daily")
        await connection.execute(f"{alter} drop constraint campaign_analytics_daily_pkey")
        await connection.execute(_DAYS, world.campaigns, world.first_day, LAST_DAY)
        await connection.execute(f"{alter} add constraint campaign_analytics_daily_pkey {key}")
