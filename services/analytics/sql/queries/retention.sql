-- Dropping raw events, and keeping what they amounted to.

-- name: fetch_sealed_through :one
-- The last day whose raw events are dropped or being dropped; none while everything is kept.
select sealed_through
from reporting_settings;

-- name: fetch_seal :one
-- How far raw events are sealed, since when, and through which day nothing is left to drop.
select sealed_through, sealed_at, dropped_through
from reporting_settings;

-- name: raise_seal :exec
-- Seals the days through $1, unless more is sealed. Batches of events must be kept out while it is raised, so
-- that none that judged by the old one is still under way.
update reporting_settings
set sealed_through = $1::date, sealed_at = clock_timestamp()
where sealed_through is null or sealed_through < $1::date;

-- name: fetch_counted_until :one
-- Before which time everything received was counted by the jobs that read raw events themselves; no row while one
-- of them has counted nothing, or has yet to count a month that reaches into the days through $1.
select least(a.received_until, s.received_before) as counted_until
from audience_progress a
cross join attribution_state s
where a.progress_name = 'user_activity'
    and not exists (select from attribution_months where is_stale and month <= $1::date);

-- name: list_sealed_hours :many
-- The hours from $1, before $2 in which something was counted, and about how many events they have (refunds and
-- custom events are in no count).
select
    hour_at,
    sum(
        impressions + views + clicks + conversions + purchases + notification_deliveries + notification_opens
        + geofence_entries + unsubscribes
    )::bigint as events
from portfolio_analytics_hourly
where hour_at >= $1::timestamptz and hour_at < $2::timestamptz
group by hour_at
order by hour_at;

-- name: lock_sealing :exec
-- Lets one sealer at a time drop events until the transaction ends, and keeps recounts of all rollups out.
select pg_advisory_xact_lock(7202, 2), pg_advisory_xact_lock_shared(7202, 1);

-- name: plan_by_values :exec
-- Has the statements of this transaction planned for their values: a plan for any hour and any limit reads the
-- whole table.
set local plan_cache_mode = force_custom_plan;

-- name: drop_events :one
-- Drops at most $3 of the events that count from $1, before $2, adds what they amounted to to the sealed totals,
-- and returns how many they were. Those that a refund has locked are left for later. Nothing here touches a rollup.
with chosen as (
    select user_id, event_id
    from events
    where counted_at >= $1::timestamptz and counted_at < $2::timestamptz
    limit $3::integer
    for update skip locked
),
dropped as (
    delete from events e
    using chosen c
    where e.user_id = c.user_id and e.event_id = c.event_id
    returning
        e.user_id, e.campaign_id, e.event_at, e.counted_at, e.revenue_micros, e.cost_micros,
        e.offer_amount_micros, e.merchant_id, e.segment_set_id, e.event_type, e.channel, e.currency_code
),
-- As recounted_measures has them.
measures as materialized (
    select
        coalesce(d.campaign_id, '') as campaign_id, d.user_id, coalesce(d.segment_set_id, 0) as segment_set_id,
        d.currency_code, d.event_at,
        coalesce(d.offer_amount_micros, -1) as offer_amount_micros,
        coalesce(d.channel, 0::smallint) as channel,
        coalesce(d.merchant_id, 0) as merchant_id,
        date_trunc('hour', d.counted_at, z.reporting_time_zone) as hour_at,
        (d.counted_at at time zone z.reporting_time_zone)::date as day,
        (d.event_type = 1)::integer as impressions,
        (d.event_type = 2)::integer as views,
        (d.event_type = 3)::integer as clicks,
        (d.event_type = 4)::integer as conversions,
        coalesce(case when d.event_type = 5 then -d.revenue_micros else d.revenue_micros end, 0)
            as revenue_micros,
        coalesce(d.cost_micros, 0) as cost_micros,
        (d.event_type = 8)::integer as notification_deliveries,
        (d.event_type = 9)::integer as notification_opens,
        (d.event_type = 7)::integer as geofence_entries,
        (d.event_type = 6)::integer as unsubscribes
    from dropped d
    cross join reporting_settings z
),
kept_hours as (
    insert into sealed_hours as t (
        campaign_id, hour_at, currency_code, impressions, views, clicks, conversions, revenue_micros,
        cost_micros, notification_deliveries, notification_opens, geofence_entries, unsubscribes
    )
    select
        campaign_id, hour_at, currency_code, sum(impressions), sum(views), sum(clicks), sum(conversions),
        sum(revenue_micros), sum(cost_micros), sum(notification_deliveries), sum(notification_opens),
        sum(geofence_entries), sum(unsubscribes)
    from measures
    group by campaign_id, hour_at, currency_code
    on conflict on constraint sealed_hours_pkey do update set
        impressions = t.impressions + excluded.impressions,
        views = t.views + excluded.views,
        clicks = t.clicks + excluded.clicks,
        conversions = t.conversions + excluded.conversions,
        revenue_micros = t.revenue_micros + excluded.revenue_micros,
        cost_micros = t.cost_micros + excluded.cost_micros,
        notification_deliveries = t.notification_deliveries + excluded.notification_deliveries,
        notification_opens = t.notification_opens + excluded.notification_opens,
        geofence_entries = t.geofence_entries + excluded.geofence_entries,
        unsubscribes = t.unsubscribes + excluded.unsubscribes
),
kept_deliveries as (
    insert into sealed_deliveries as t (
        campaign_id, day, currency_code, offer_amount_micros, channel, merchant_id, impressions, views, clicks,
        conversions, revenue_micros, cost_micros, notification_deliveries, notification_opens,
        geofence_entries, unsubscribes
    )
    select
        campaign_id, day, currency_code, offer_amount_micros, channel, merchant_id, sum(impressions),
        sum(views), sum(clicks), sum(conversions), sum(revenue_micros), sum(cost_micros),
        sum(notification_deliveries), sum(notification_opens), sum(geofence_entries), sum(unsubscribes)
    from (
        select
            campaign_id, day, currency_code,
            case when campaign_id = '' then -1 else offer_amount_micros end as offer_amount_micros,
            case when campaign_id = '' then 0::smallint else channel end as channel,
            merchant_id, impressions, views, clicks, conversions, revenue_micros, cost_micros,
            notification_deliveries, notification_opens, geofence_entries, unsubscribes
        from measures
        where campaign_id <> '' or merchant_id <> 0
    ) counted
    group by campaign_id, day, currency_code, offer_amount_micros, channel, merchant_id
    on conflict on constraint sealed_deliveries_pkey do update set
        impressions = t.impressions + excluded.impressions,
        views = t.views + excluded.views,
        clicks = t.clicks + excluded.clicks,
        conversions = t.conversions + excluded.conversions,
        revenue_micros = t.revenue_micros + excluded.revenue_micros,
        cost_micros = t.cost_micros + excluded.cost_micros,
        notification_deliveries = t.notification_deliveries + excluded.notification_deliveries,
        notification_opens = t.notification_opens + excluded.notification_opens,
        geofence_entries = t.geofence_entries + excluded.geofence_entries,
        unsubscribes = t.unsubscribes + excluded.unsubscribes
),
kept_segments as (
    insert into sealed_segments as t (
        campaign_id, segment_set_id, impressions, views, clicks, conversions, revenue_micros, cost_micros
    )
    select
        campaign_id, segment_set_id, sum(impressions), sum(views), sum(clicks), sum(conversions),
        sum(revenue_micros), sum(cost_micros)
    from measures
    where campaign_id <> ''
    group by campaign_id, segment_set_id
    on conflict on constraint sealed_segments_pkey do update set
        impressions = t.impressions + excluded.impressions,
        views = t.views + excluded.views,
        clicks = t.clicks + excluded.clicks,
        conversions = t.conversions + excluded.conversions,
        revenue_micros = t.revenue_micros + excluded.revenue_micros,
        cost_micros = t.cost_micros + excluded.cost_micros
),
kept_users as (
    insert into sealed_users as t (
        campaign_id, user_id, impressions, views, clicks, conversions, revenue_micros, cost_micros,
        first_event_at, notification_deliveries, notification_opens
    )
    select
        campaign_id, user_id, sum(impressions), sum(views), sum(clicks), sum(conversions),
        sum(revenue_micros), sum(cost_micros), min(event_at), sum(notification_deliveries),
        sum(notification_opens)
    from measures
    where campaign_id <> ''
    group by campaign_id, user_id
    on conflict on constraint sealed_users_pkey do update set
        impressions = t.impressions + excluded.impressions,
        views = t.views + excluded.views,
        clicks = t.clicks + excluded.clicks,
        conversions = t.conversions + excluded.conversions,
        revenue_micros = t.revenue_micros + excluded.revenue_micros,
        cost_micros = t.cost_micros + excluded.cost_micros,
        first_event_at = least(t.first_event_at, excluded.first_event_at),
        notification_deliveries = t.notification_deliveries + excluded.notification_deliveries,
        notification_opens = t.notification_opens + excluded.notification_opens
)
select count(*) as events
from dropped;

-- name: finish_dropping :one
-- Notes that nothing is left of the days through $1, unless some event still counts from $2, before $3; returns
-- whether it did.
update reporting_settings
set dropped_through = $1::date
where not exists (
    select from events where counted_at >= $2::timestamptz and counted_at < $3::timestamptz
)
returning true as is_finished;
