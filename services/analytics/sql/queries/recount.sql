-- The reporting zone, and counting everything again.

-- name: allow_long_statements :exec
-- Lets the statements of this transaction take as long as they need: they read everything there is.
set local statement_timeout = 0;

-- name: fetch_reporting_time_zone :one
-- The zone whose hours and days events count in; none before the first start.
select reporting_time_zone
from reporting_settings;

-- name: insert_reporting_time_zone :exec
-- Fixes the zone at the first start; whoever comes second changes nothing.
insert into reporting_settings (reporting_time_zone)
values ($1::text)
on conflict on constraint reporting_settings_pkey do nothing;

-- name: upsert_reporting_time_zone :exec
-- Sets the zone; the rollups must be rebuilt in the same transaction.
insert into reporting_settings (reporting_time_zone)
values ($1::text)
on conflict on constraint reporting_settings_pkey do update set
    reporting_time_zone = excluded.reporting_time_zone;

-- name: is_time_zone_known :one
-- Whether the database knows a zone by that name.
select exists (select from pg_timezone_names where name = $1::text) as is_known;

-- name: list_differences_of_campaign_analytics_daily :many
-- Rows of campaign_analytics_daily that a recount does not have, rows of the recount that it lacks, and how many rows it has.
with recounted as materialized (
    select
        campaign_id, day, impressions, views, clicks, conversions, revenue_micros, cost_micros
    from recounted_campaign_analytics_daily
),
stored as materialized (
    select
        campaign_id, day, impressions, views, clicks, conversions, revenue_micros, cost_micros
    from campaign_analytics_daily
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d
union all
select 'compared' as side, count(*)::text as content
from recounted;

-- name: list_differences_of_campaign_analytics_weekly :many
-- Rows of campaign_analytics_weekly that a recount does not have, rows of the recount that it lacks, and how many rows it has.
with recounted as materialized (
    select
        campaign_id, week, impressions, views, clicks, conversions, revenue_micros, cost_micros
    from recounted_campaign_analytics_weekly
),
stored as materialized (
    select
        campaign_id, week, impressions, views, clicks, conversions, revenue_micros, cost_micros
    from campaign_analytics_weekly
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d
union all
select 'compared' as side, count(*)::text as content
from recounted;

-- name: list_differences_of_campaign_trend_data :many
-- Rows of campaign_trend_data that a recount does not have, rows of the recount that it lacks, and how many rows it has.
with recounted as materialized (
    select
        campaign_id, hour_at, impressions, views, clicks, conversions, revenue_micros, cost_micros
    from recounted_campaign_trend_data
),
stored as materialized (
    select
        campaign_id, hour_at, impressions, views, clicks, conversions, revenue_micros, cost_micros
    from campaign_trend_data
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d
union all
select 'compared' as side, count(*)::text as content
from recounted;

-- name: list_differences_of_campaign_delivery_daily :many
-- Rows of campaign_delivery_daily that a recount does not have, rows of the recount that it lacks, and how many rows it has.
with recounted as materialized (
    select
        campaign_id, day, offer_amount_micros, channel, merchant_id, impressions, views, clicks, conversions,
        revenue_micros, cost_micros, notification_deliveries, notification_opens, geofence_entries,
        unsubscribes
    from recounted_campaign_delivery_daily
),
stored as materialized (
    select
        campaign_id, day, offer_amount_micros, channel, merchant_id, impressions, views, clicks, conversions,
        revenue_micros, cost_micros, notification_deliveries, notification_opens, geofence_entries,
        unsubscribes
    from campaign_delivery_daily
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d
union all
select 'compared' as side, count(*)::text as content
from recounted;

-- name: list_differences_of_campaign_segment_analytics :many
-- Rows of campaign_segment_analytics that a recount does not have, rows of the recount that it lacks, and how many rows it has.
with recounted as materialized (
    select
        campaign_id, segment_name, impressions, views, clicks, conversions, revenue_micros, cost_micros
    from recounted_campaign_segment_analytics
),
stored as materialized (
    select
        campaign_id, segment_name, impressions, views, clicks, conversions, revenue_micros, cost_micros
    from campaign_segment_analytics
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d
union all
select 'compared' as side, count(*)::text as content
from recounted;

-- name: list_differences_of_campaign_user_totals :many
-- Rows of campaign_user_totals that a recount does not have, rows of the recount that it lacks, and how many rows it has.
with recounted as materialized (
    select
        campaign_id, user_id, impressions, views, clicks, conversions, revenue_micros, cost_micros,
        first_event_at, notification_deliveries, notification_opens
    from recounted_campaign_user_totals
),
stored as materialized (
    select
        campaign_id, user_id, impressions, views, clicks, conversions, revenue_micros, cost_micros,
        first_event_at, notification_deliveries, notification_opens
    from campaign_user_totals
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d
union all
select 'compared' as side, count(*)::text as content
from recounted;

-- name: list_differences_of_campaign_totals :many
-- Rows of campaign_totals that a recount does not have, rows of the recount that it lacks, and how many rows it has.
with recounted as materialized (
    select
        campaign_id, users, reached_users, converting_users, paying_users, notified_users, impressions,
        views, clicks, conversions, revenue_micros, cost_micros, imported_cost_micros,
        notification_deliveries, notification_opens, geofence_entries, unsubscribes, impressions_impressions,
        impressions_views, impressions_clicks, views_views, views_conversions, clicks_clicks,
        conversions_conversions, impressions_revenue, conversions_cost, revenue_revenue, revenue_cost,
        cost_cost, deliveries_deliveries, deliveries_opens, opens_opens,
        revenue_revenue_revenue
    from recounted_campaign_totals
),
stored as materialized (
    select
        campaign_id, users, reached_users, converting_users, paying_users, notified_users, impressions,
        views, clicks, conversions, revenue_micros, cost_micros, imported_cost_micros,
        notification_deliveries, notification_opens, geofence_entries, unsubscribes, impressions_impressions,
        impressions_views, impressions_clicks, views_views, views_conversions, clicks_clicks,
        conversions_conversions, impressions_revenue, conversions_cost, revenue_revenue, revenue_cost,
        cost_cost, deliveries_deliveries, deliveries_opens, opens_opens,
        revenue_revenue_revenue
    from campaign_totals
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d
union all
select 'compared' as side, count(*)::text as content
from recounted;

-- name: list_differences_of_merchant_daily :many
-- Rows of merchant_daily that a recount does not have, rows of the recount that it lacks, and how many rows it has.
with recounted as materialized (
    select
        merchant_id, day, currency_code, geofence_entries, purchases, purchase_revenue_micros
    from recounted_merchant_daily
),
stored as materialized (
    select
        merchant_id, day, currency_code, geofence_entries, purchases, purchase_revenue_micros
    from merchant_daily
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d
union all
select 'compared' as side, count(*)::text as content
from recounted;

-- name: list_differences_of_portfolio_analytics_hourly :many
-- Rows of portfolio_analytics_hourly that a recount does not have, rows of the recount that it lacks, and how many rows it has.
with recounted as materialized (
    select
        hour_at, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros,
        purchases, purchase_revenue_micros, notification_deliveries, notification_opens, geofence_entries,
        unsubscribes
    from recounted_portfolio_analytics_hourly
),
stored as materialized (
    select
        hour_at, currency_code,
        sum(impressions)::bigint as impressions,
        sum(views)::bigint as views,
        sum(clicks)::bigint as clicks,
        sum(conversions)::bigint as conversions,
        sum(revenue_micros)::bigint as revenue_micros,
        sum(cost_micros)::bigint as cost_micros,
        sum(purchases)::bigint as purchases,
        sum(purchase_revenue_micros)::bigint as purchase_revenue_micros,
        sum(notification_deliveries)::bigint as notification_deliveries,
        sum(notification_opens)::bigint as notification_opens,
        sum(geofence_entries)::bigint as geofence_entries,
        sum(unsubscribes)::bigint as unsubscribes
    from portfolio_analytics_hourly
    group by hour_at, currency_code
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d
union all
select 'compared' as side, count(*)::text as content
from recounted;

-- name: list_differences_of_portfolio_analytics_daily :many
-- Rows of portfolio_analytics_daily that a recount does not have, rows of the recount that it lacks, and how many rows it has.
with recounted as materialized (
    select
        day, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros, purchases,
        purchase_revenue_micros, notification_deliveries, notification_opens, geofence_entries, unsubscribes
    from recounted_portfolio_analytics_daily
),
stored as materialized (
    select
        day, currency_code,
        sum(impressions)::bigint as impressions,
        sum(views)::bigint as views,
        sum(clicks)::bigint as clicks,
        sum(conversions)::bigint as conversions,
        sum(revenue_micros)::bigint as revenue_micros,
        sum(cost_micros)::bigint as cost_micros,
        sum(purchases)::bigint as purchases,
        sum(purchase_revenue_micros)::bigint as purchase_revenue_micros,
        sum(notification_deliveries)::bigint as notification_deliveries,
        sum(notification_opens)::bigint as notification_opens,
        sum(geofence_entries)::bigint as geofence_entries,
        sum(unsubscribes)::bigint as unsubscribes
    from portfolio_analytics_daily
    group by day, currency_code
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d
union all
select 'compared' as side, count(*)::text as content
from recounted;

-- name: list_differences_of_campaign_last_30_days :many
-- Rows of campaign_last_30_days that a recount does not have, rows of the recount that it lacks, and how many rows it has.
with recounted as materialized (
    select
        campaign_id, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros
    from recounted_campaign_last_30_days
),
stored as materialized (
    select
        campaign_id, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros
    from campaign_last_30_days
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d
union all
select 'compared' as side, count(*)::text as content
from recounted;

-- name: list_differences_of_portfolio_last_30_days :many
-- Rows of portfolio_last_30_days that a recount does not have, rows of the recount that it lacks, and how many rows it has.
with recounted as materialized (
    select
        currency_code, campaigns, campaigns_with_cost, roas_nanos, impressions, views, clicks, conversions,
        revenue_micros, cost_micros, purchases, purchase_revenue_micros, notification_deliveries,
        notification_opens, geofence_entries, unsubscribes
    from recounted_portfolio_last_30_days
),
stored as materialized (
    select
        currency_code,
        sum(campaigns)::bigint as campaigns,
        sum(campaigns_with_cost)::bigint as campaigns_with_cost,
        sum(roas_nanos) as roas_nanos,
        sum(impressions)::bigint as impressions,
        sum(views)::bigint as views,
        sum(clicks)::bigint as clicks,
        sum(conversions)::bigint as conversions,
        sum(revenue_micros)::bigint as revenue_micros,
        sum(cost_micros)::bigint as cost_micros,
        sum(purchases)::bigint as purchases,
        sum(purchase_revenue_micros)::bigint as purchase_revenue_micros,
        sum(notification_deliveries)::bigint as notification_deliveries,
        sum(notification_opens)::bigint as notification_opens,
        sum(geofence_entries)::bigint as geofence_entries,
        sum(unsubscribes)::bigint as unsubscribes
    from portfolio_last_30_days
    group by currency_code
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d
union all
select 'compared' as side, count(*)::text as content
from recounted;

-- name: clear_campaign_analytics_daily :exec
-- Empties campaign_analytics_daily before a rebuild.
delete from campaign_analytics_daily;

-- name: rebuild_campaign_analytics_daily :exec
-- Fills campaign_analytics_daily from the raw events.
insert into campaign_analytics_daily (
    campaign_id, day, impressions, views, clicks, conversions, revenue_micros, cost_micros
)
select
    campaign_id, day, impressions, views, clicks, conversions, revenue_micros, cost_micros
from recounted_campaign_analytics_daily;

-- name: clear_campaign_analytics_weekly :exec
-- Empties campaign_analytics_weekly before a rebuild.
delete from campaign_analytics_weekly;

-- name: rebuild_campaign_analytics_weekly :exec
-- Fills campaign_analytics_weekly from the raw events.
insert into campaign_analytics_weekly (
    campaign_id, week, impressions, views, clicks, conversions, revenue_micros, cost_micros
)
select
    campaign_id, week, impressions, views, clicks, conversions, revenue_micros, cost_micros
from recounted_campaign_analytics_weekly;

-- name: clear_campaign_trend_data :exec
-- Empties campaign_trend_data before a rebuild.
delete from campaign_trend_data;

-- name: rebuild_campaign_trend_data :exec
-- Fills campaign_trend_data from the raw events.
insert into campaign_trend_data (
    campaign_id, hour_at, impressions, views, clicks, conversions, revenue_micros, cost_micros
)
select
    campaign_id, hour_at, impressions, views, clicks, conversions, revenue_micros, cost_micros
from recounted_campaign_trend_data;

-- name: clear_campaign_delivery_daily :exec
-- Empties campaign_delivery_daily before a rebuild.
delete from campaign_delivery_daily;

-- name: rebuild_campaign_delivery_daily :exec
-- Fills campaign_delivery_daily from the raw events.
insert into campaign_delivery_daily (
    campaign_id, day, offer_amount_micros, channel, merchant_id, impressions, views, clicks, conversions,
    revenue_micros, cost_micros, notification_deliveries, notification_opens, geofence_entries, unsubscribes
)
select
    campaign_id, day, offer_amount_micros, channel, merchant_id, impressions, views, clicks, conversions,
    revenue_micros, cost_micros, notification_deliveries, notification_opens, geofence_entries, unsubscribes
from recounted_campaign_delivery_daily;

-- name: clear_campaign_segment_analytics :exec
-- Empties campaign_segment_analytics before a rebuild.
delete from campaign_segment_analytics;

-- name: rebuild_campaign_segment_analytics :exec
-- Fills campaign_segment_analytics from the raw events.
insert into campaign_segment_analytics (
    campaign_id, segment_name, impressions, views, clicks, conversions, revenue_micros, cost_micros
)
select
    campaign_id, segment_name, impressions, views, clicks, conversions, revenue_micros, cost_micros
from recounted_campaign_segment_analytics;

-- name: clear_campaign_user_totals :exec
-- Empties campaign_user_totals before a rebuild.
delete from campaign_user_totals;

-- name: rebuild_campaign_user_totals :exec
-- Fills campaign_user_totals from the raw events.
insert into campaign_user_totals (
    campaign_id, user_id, impressions, views, clicks, conversions, revenue_micros, cost_micros,
    first_event_at, notification_deliveries, notification_opens
)
select
    campaign_id, user_id, impressions, views, clicks, conversions, revenue_micros, cost_micros,
    first_event_at, notification_deliveries, notification_opens
from recounted_campaign_user_totals;

-- name: clear_campaign_totals :exec
-- Empties campaign_totals before a rebuild.
delete from campaign_totals;

-- name: rebuild_campaign_totals :exec
-- Fills campaign_totals from the raw events.
insert into campaign_totals (
    campaign_id, users, reached_users, converting_users, paying_users, notified_users, impressions, views,
    clicks, conversions, revenue_micros, cost_micros, imported_cost_micros, notification_deliveries,
    notification_opens, geofence_entries, unsubscribes, impressions_impressions, impressions_views,
    impressions_clicks, views_views, views_conversions, clicks_clicks, conversions_conversions,
    impressions_revenue, conversions_cost, revenue_revenue, revenue_cost, cost_cost, deliveries_deliveries,
    deliveries_opens, opens_opens, revenue_revenue_revenue
)
select
    campaign_id, users, reached_users, converting_users, paying_users, notified_users, impressions, views,
    clicks, conversions, revenue_micros, cost_micros, imported_cost_micros, notification_deliveries,
    notification_opens, geofence_entries, unsubscribes, impressions_impressions, impressions_views,
    impressions_clicks, views_views, views_conversions, clicks_clicks, conversions_conversions,
    impressions_revenue, conversions_cost, revenue_revenue, revenue_cost, cost_cost, deliveries_deliveries,
    deliveries_opens, opens_opens, revenue_revenue_revenue
from recounted_campaign_totals;

-- name: clear_merchant_daily :exec
-- Empties merchant_daily before a rebuild.
delete from merchant_daily;

-- name: rebuild_merchant_daily :exec
-- Fills merchant_daily from the raw events.
insert into merchant_daily (
    merchant_id, day, currency_code, geofence_entries, purchases, purchase_revenue_micros
)
select
    merchant_id, day, currency_code, geofence_entries, purchases, purchase_revenue_micros
from recounted_merchant_daily;

-- name: clear_portfolio_analytics_hourly :exec
-- Empties portfolio_analytics_hourly before a rebuild.
delete from portfolio_analytics_hourly;

-- name: rebuild_portfolio_analytics_hourly :exec
-- Fills portfolio_analytics_hourly from the raw events.
insert into portfolio_analytics_hourly (
    hour_at, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros, purchases,
    purchase_revenue_micros, notification_deliveries, notification_opens, geofence_entries, unsubscribes,
    slot
)
select
    hour_at, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros, purchases,
    purchase_revenue_micros, notification_deliveries, notification_opens, geofence_entries, unsubscribes, 0
from recounted_portfolio_analytics_hourly;

-- name: clear_portfolio_analytics_daily :exec
-- Empties portfolio_analytics_daily before a rebuild.
delete from portfolio_analytics_daily;

-- name: rebuild_portfolio_analytics_daily :exec
-- Fills portfolio_analytics_daily from the raw events.
insert into portfolio_analytics_daily (
    day, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros, purchases,
    purchase_revenue_micros, notification_deliveries, notification_opens, geofence_entries, unsubscribes,
    slot
)
select
    day, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros, purchases,
    purchase_revenue_micros, notification_deliveries, notification_opens, geofence_entries, unsubscribes, 0
from recounted_portfolio_analytics_daily;

-- name: clear_campaign_last_30_days :exec
-- Empties campaign_last_30_days before a rebuild.
delete from campaign_last_30_days;

-- name: rebuild_campaign_last_30_days :exec
-- Fills campaign_last_30_days from the raw events.
insert into campaign_last_30_days (
    campaign_id, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros
)
select
    campaign_id, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros
from recounted_campaign_last_30_days;

-- name: clear_portfolio_last_30_days :exec
-- Empties portfolio_last_30_days before a rebuild.
delete from portfolio_last_30_days;

-- name: rebuild_portfolio_last_30_days :exec
-- Fills portfolio_last_30_days from the raw events.
insert into portfolio_last_30_days (
    currency_code, campaigns, campaigns_with_cost, roas_nanos, impressions, views, clicks, conversions,
    revenue_micros, cost_micros, purchases, purchase_revenue_micros, notification_deliveries,
    notification_opens, geofence_entries, unsubscribes, slot
)
select
    currency_code, campaigns, campaigns_with_cost, roas_nanos, impressions, views, clicks, conversions,
    revenue_micros, cost_micros, purchases, purchase_revenue_micros, notification_deliveries,
    notification_opens, geofence_entries, unsubscribes, 0
from recounted_portfolio_last_30_days;
