-- Taking events in. `order by` in front of an upsert keeps one order of row locks, so that two batches do not
-- deadlock.

-- name: open_batch :exec
-- Readies the transaction for a batch: keeps the catalog as it is (batches do not exclude each other), has
-- statements planned for the batch's own size, and makes the session's staging table, empty at every commit.
select pg_advisory_xact_lock_shared(7202, 1);
set local plan_cache_mode = force_custom_plan;
create temporary table if not exists staged_events (
    user_id text not null,
    event_id text not null,
    campaign_id text,
    event_micros bigint not null,
    counted_micros bigint not null,
    revenue_micros bigint,
    cost_micros bigint,
    offer_amount_micros bigint,
    merchant_id integer,
    event_type smallint not null,
    channel smallint,
    stamped_fields smallint not null,
    is_machine_open boolean not null,
    currency_code text not null,
    original_event_id text,
    custom_event_name text,
    propensity double precision,
    policy_version text
) on commit delete rows;

-- name: clear_batch :exec
-- Empties the staging table for another part of the batch.
delete from pg_temp.staged_events;

-- name: insert_events :many
-- Inserts the staged events, each identity once among them, and counts what was new in every rollup; returns
-- the identities that were there before. $1 is the portfolio slot of this batch.
with inserted as (
    insert into events (
        user_id, event_id, campaign_id, event_at, counted_at, revenue_micros, cost_micros,
        offer_amount_micros, merchant_id, segment_set_id, event_type, channel, stamped_fields,
        is_machine_open, currency_code, original_event_id, custom_event_name, propensity, policy_version
    )
    select
        s.user_id, s.event_id, s.campaign_id,
        timestamptz 'epoch' + s.event_micros * interval '1 microsecond',
        timestamptz 'epoch' + s.counted_micros * interval '1 microsecond', s.revenue_micros, s.cost_micros,
        s.offer_amount_micros, s.merchant_id,
        -- A refund takes from the segments that its original counts in.
        case
            when s.original_event_id is null then u.segment_set_id
            else (
                select o.segment_set_id
                from events o
                where o.user_id = s.user_id and o.event_id = s.original_event_id
            )
        end,
        s.event_type, s.channel, s.stamped_fields,
        s.is_machine_open, s.currency_code, s.original_event_id, s.custom_event_name, s.propensity,
        s.policy_version
    from staged_events s
    left join users u on u.user_id = s.user_id
    order by s.user_id, s.event_id
    on conflict on constraint events_pkey do nothing
    returning
        user_id, event_id, campaign_id, event_at, counted_at, revenue_micros, cost_micros,
        offer_amount_micros, merchant_id, segment_set_id, event_type, channel, currency_code
),
-- The 30 days that are kept ready; no row before the first roll.
last_30_days as (
    select end_day - 29 as start_day, end_day
    from rolling_window
),
-- One event's share of every measure; a refund takes its revenue away.
measures as materialized (
    select
        i.campaign_id, i.user_id, i.segment_set_id, i.currency_code, i.event_at,
        coalesce(i.offer_amount_micros, -1) as offer_amount_micros,
        coalesce(i.channel, 0::smallint) as channel, coalesce(i.merchant_id, 0) as merchant_id,
        i.event_type,
        date_trunc('hour', i.counted_at, z.reporting_time_zone) as hour_at,
        (i.counted_at at time zone z.reporting_time_zone)::date as day,
        (i.event_type = 1)::integer as impressions,
        (i.event_type = 2)::integer as views,
        (i.event_type = 3)::integer as clicks,
        (i.event_type = 4)::integer as conversions,
        coalesce(case when i.event_type = 5 then -i.revenue_micros else i.revenue_micros end, 0)
            as revenue_micros,
        coalesce(i.cost_micros, 0) as cost_micros,
        (i.event_type = 8)::integer as notification_deliveries,
        (i.event_type = 9)::integer as notification_opens,
        (i.event_type = 7)::integer as geofence_entries,
        (i.event_type = 6)::integer as unsubscribes
    from inserted i
    cross join reporting_settings z
),
-- A batch is small: its counts are integers, whose sums are added without numerics.
campaign_hours as materialized (
    select
        campaign_id, hour_at, day, offer_amount_micros, channel, merchant_id, currency_code,
        sum(impressions)::integer as impressions, sum(views)::integer as views,
        sum(clicks)::integer as clicks, sum(conversions)::integer as conversions,
        sum(revenue_micros)::bigint as revenue_micros, sum(cost_micros)::bigint as cost_micros,
        sum(notification_deliveries)::integer as notification_deliveries,
        sum(notification_opens)::integer as notification_opens,
        sum(geofence_entries)::integer as geofence_entries, sum(unsubscribes)::integer as unsubscribes
    from measures
    where campaign_id is not null
    group by campaign_id, hour_at, day, offer_amount_micros, channel, merchant_id, currency_code
),
counted_hours as (
    insert into campaign_trend_data as t (
        campaign_id, hour_at, impressions, views, clicks, conversions, revenue_micros, cost_micros
    )
    select
        campaign_id, hour_at, sum(impressions), sum(views), sum(clicks), sum(conversions),
        sum(revenue_micros), sum(cost_micros)
    from campaign_hours
    group by campaign_id, hour_at
    order by campaign_id, hour_at
    on conflict on constraint campaign_trend_data_pkey do update set
        impressions = t.impressions + excluded.impressions,
        views = t.views + excluded.views,
        clicks = t.clicks + excluded.clicks,
        conversions = t.conversions + excluded.conversions,
        revenue_micros = t.revenue_micros + excluded.revenue_micros,
        cost_micros = t.cost_micros + excluded.cost_micros
),
campaign_days as materialized (
    select
        campaign_id, day, currency_code, sum(impressions)::integer as impressions,
        sum(views)::integer as views,
        sum(clicks)::integer as clicks, sum(conversions)::integer as conversions,
        sum(revenue_micros)::bigint as revenue_micros,
        sum(cost_micros)::bigint as cost_micros
    from campaign_hours
    group by campaign_id, day, currency_code
),
counted_days as (
    insert into campaign_analytics_daily as t (
        campaign_id, day, impressions, views, clicks, conversions, revenue_micros, cost_micros
    )
    select campaign_id, day, impressions, views, clicks, conversions, revenue_micros, cost_micros
    from campaign_days
    order by campaign_id, day
    on conflict on constraint campaign_analytics_daily_pkey do update set
        impressions = t.impressions + excluded.impressions,
        views = t.views + excluded.views,
        clicks = t.clicks + excluded.clicks,
        conversions = t.conversions + excluded.conversions,
        revenue_micros = t.revenue_micros + excluded.revenue_micros,
        cost_micros = t.cost_micros + excluded.cost_micros
),
counted_weeks as (
    insert into campaign_analytics_weekly as t (
        campaign_id, week, impressions, views, clicks, conversions, revenue_micros, cost_micros
    )
    select
        campaign_id, date_trunc('week', day::timestamp)::date, sum(impressions), sum(views), sum(clicks),
        sum(conversions), sum(revenue_micros), sum(cost_micros)
    from campaign_days
    group by 1, 2
    order by 1, 2
    on conflict on constraint campaign_analytics_weekly_pkey do update set
        impressions = t.impressions + excluded.impressions,
        views = t.views + excluded.views,
        clicks = t.clicks + excluded.clicks,
        conversions = t.conversions + excluded.conversions,
        revenue_micros = t.revenue_micros + excluded.revenue_micros,
        cost_micros = t.cost_micros + excluded.cost_micros
),
counted_deliveries as (
    insert into campaign_delivery_daily as t (
        campaign_id, day, offer_amount_micros, channel, merchant_id, impressions, views, clicks,
        conversions,
        revenue_micros, cost_micros, notification_deliveries, notification_opens, geofence_entries,
        unsubscribes
    )
    select
        campaign_id, day, offer_amount_micros, channel, merchant_id, sum(impressions), sum(views),
        sum(clicks), sum(conversions), sum(revenue_micros), sum(cost_micros), sum(notification_deliveries),
        sum(notification_opens), sum(geofence_entries), sum(unsubscribes)
    from campaign_hours
    group by campaign_id, day, offer_amount_micros, channel, merchant_id
    order by campaign_id, day, offer_amount_micros, channel, merchant_id
    on conflict on constraint campaign_delivery_daily_pkey do update set
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
counted_segments as (
    insert into campaign_segment_analytics as t (
        campaign_id, segment_name, impressions, views, clicks, conversions, revenue_micros, cost_micros
    )
    select
        g.campaign_id, coalesce(n.segment_name, ''), sum(g.impressions), sum(g.views), sum(g.clicks),
        sum(g.conversions), sum(g.revenue_micros), sum(g.cost_micros)
    from (
        select
            campaign_id, segment_set_id, sum(impressions)::integer as impressions,
            sum(views)::integer as views,
            sum(clicks)::integer as clicks, sum(conversions)::integer as conversions,
            sum(revenue_micros) as revenue_micros,
            sum(cost_micros) as cost_micros
        from measures
        where campaign_id is not null
        group by campaign_id, segment_set_id
    ) g
    left join segment_sets s on s.segment_set_id = g.segment_set_id
    left join lateral unnest(s.segments) as n (segment_name) on true
    group by 1, 2
    order by 1, 2
    on conflict on constraint campaign_segment_analytics_pkey do update set
        impressions = t.impressions + excluded.impressions,
        views = t.views + excluded.views,
        clicks = t.clicks + excluded.clicks,
        conversions = t.conversions + excluded.conversions,
        revenue_micros = t.revenue_micros + excluded.revenue_micros,
        cost_micros = t.cost_micros + excluded.cost_micros
),
user_changes as materialized (
    select
        campaign_id, user_id, sum(impressions) as impressions, sum(views) as views, sum(clicks) as clicks,
        sum(conversions) as conversions, sum(revenue_micros)::bigint as revenue_micros,
        sum(cost_micros)::bigint as cost_micros, min(event_at) as first_event_at,
        sum(notification_deliveries) as notification_deliveries,
        sum(notification_opens) as notification_opens, sum(geofence_entries) as geofence_entries,
        sum(unsubscribes) as unsubscribes
    from measures
    where campaign_id is not null
    group by campaign_id, user_id
),
user_totals as (
    insert into campaign_user_totals as t (
        campaign_id, user_id, impressions, views, clicks, conversions, revenue_micros, cost_micros,
        first_event_at, notification_deliveries, notification_opens
    )
    select
        campaign_id, user_id, impressions, views, clicks, conversions, revenue_micros, cost_micros,
        first_event_at, notification_deliveries, notification_opens
    from user_changes
    order by campaign_id, user_id
    on conflict on constraint campaign_user_totals_pkey do update set
        impressions = t.impressions + excluded.impressions,
        views = t.views + excluded.views,
        clicks = t.clicks + excluded.clicks,
        conversions = t.conversions + excluded.conversions,
        revenue_micros = t.revenue_micros + excluded.revenue_micros,
        cost_micros = t.cost_micros + excluded.cost_micros,
        first_event_at = least(t.first_event_at, excluded.first_event_at),
        notification_deliveries = t.notification_deliveries + excluded.notification_deliveries,
        notification_opens = t.notification_opens + excluded.notification_opens
    returning
        campaign_id, user_id, impressions, views, clicks, conversions, revenue_micros, cost_micros,
        notification_deliveries, notification_opens, (xmax = 0) as is_new
),
-- What each user's change does to the sums over users: new (n) minus old (n - d, d the change).
moment_changes as (
    select
        n.campaign_id,
        count(*) filter (where n.is_new) as users,
        count(*) filter (where n.impressions > 0 and n.impressions = d.impressions) as reached_users,
        count(*) filter (where n.impressions > 0 and n.conversions > 0)
        - count(*) filter (where n.impressions > d.impressions and n.conversions > d.conversions)
            as converting_users,
        count(*) filter (where n.revenue_micros > 0)
        - count(*) filter (where n.revenue_micros > d.revenue_micros) as paying_users,
        count(*) filter (
            where n.notification_deliveries > 0 and n.notification_deliveries = d.notification_deliveries
        ) as notified_users,
        sum(d.impressions) as impressions,
        sum(d.views) as views,
        sum(d.clicks) as clicks,
        sum(d.conversions) as conversions,
        sum(d.revenue_micros) as revenue_micros,
        sum(d.cost_micros) as cost_micros,
        sum(d.notification_deliveries) as notification_deliveries,
        sum(d.notification_opens) as notification_opens,
        sum(d.geofence_entries) as geofence_entries,
        sum(d.unsubscribes) as unsubscribes,
        sum(d.impressions * (2 * n.impressions - d.impressions)) as impressions_impressions,
        sum(n.impressions * n.views - (n.impressions - d.impressions) * (n.views - d.views))
            as impressions_views,
        sum(n.impressions * n.clicks - (n.impressions - d.impressions) * (n.clicks - d.clicks))
            as impressions_clicks,
        sum(d.views * (2 * n.views - d.views)) as views_views,
        sum(n.views * n.conversions - (n.views - d.views) * (n.conversions - d.conversions))
            as views_conversions,
        sum(d.clicks * (2 * n.clicks - d.clicks)) as clicks_clicks,
        sum(d.conversions * (2 * n.conversions - d.conversions)) as conversions_conversions,
        -- Numerics are slow, and most users' changes are of neither revenue nor cost.
        coalesce(
            sum(
                n.impressions::numeric * n.revenue_micros
                - (n.impressions - d.impressions)::numeric * (n.revenue_micros - d.revenue_micros)
            ) filter (where n.revenue_micros <> 0 or d.revenue_micros <> 0),
            0
        ) as impressions_revenue,
        coalesce(
            sum(
                n.conversions::numeric * n.cost_micros
                - (n.conversions - d.conversions)::numeric * (n.cost_micros - d.cost_micros)
            ) filter (where n.conversions <> 0),
            0
        ) as conversions_cost,
        coalesce(
            sum(d.revenue_micros::numeric * (2 * n.revenue_micros - d.revenue_micros))
                filter (where d.revenue_micros <> 0),
            0
        ) as revenue_revenue,
        coalesce(
            sum(
                n.revenue_micros::numeric * n.cost_micros
                - (n.revenue_micros - d.revenue_micros)::numeric * (n.cost_micros - d.cost_micros)
            ) filter (where n.revenue_micros <> 0 or d.revenue_micros <> 0),
            0
        ) as revenue_cost,
        coalesce(
            sum(d.cost_micros::numeric * (2 * n.cost_micros - d.cost_micros))
                filter (where d.cost_micros <> 0),
            0
        ) as cost_cost,
        sum(d.notification_deliveries * (2 * n.notification_deliveries - d.notification_deliveries))
            as deliveries_deliveries,
        sum(
            n.notification_deliveries * n.notification_opens
            - (n.notification_deliveries - d.notification_deliveries)
            * (n.notification_opens - d.notification_opens)
        ) as deliveries_opens,
        sum(d.notification_opens * (2 * n.notification_opens - d.notification_opens)) as opens_opens,
        coalesce(
            sum(
                n.revenue_micros::numeric * n.revenue_micros * n.revenue_micros
                - (n.revenue_micros - d.revenue_micros)::numeric * (n.revenue_micros - d.revenue_micros)
                * (n.revenue_micros - d.revenue_micros)
            ) filter (where d.revenue_micros <> 0),
            0
        ) as revenue_revenue_revenue
    from user_totals n
    join user_changes d on d.campaign_id = n.campaign_id and d.user_id = n.user_id
    group by n.campaign_id
),
counted_totals as (
    insert into campaign_totals as t (
        campaign_id, users, reached_users, converting_users, paying_users, impressions, views, clicks,
        conversions, revenue_micros, cost_micros, impressions_impressions, impressions_views,
        impressions_clicks, views_views, views_conversions, clicks_clicks, conversions_conversions,
        impressions_revenue, conversions_cost, revenue_revenue, revenue_cost, cost_cost, notified_users,
        notification_deliveries, notification_opens, geofence_entries, unsubscribes, deliveries_deliveries,
        deliveries_opens, opens_opens, revenue_revenue_revenue
    )
    select
        campaign_id, users, reached_users, converting_users, paying_users, impressions, views, clicks,
        conversions, revenue_micros, cost_micros, impressions_impressions, impressions_views,
        impressions_clicks, views_views, views_conversions, clicks_clicks, conversions_conversions,
        impressions_revenue, conversions_cost, revenue_revenue, revenue_cost, cost_cost, notified_users,
        notification_deliveries, notification_opens, geofence_entries, unsubscribes, deliveries_deliveries,
        deliveries_opens, opens_opens, revenue_revenue_revenue
    from moment_changes
    order by campaign_id
    on conflict on constraint campaign_totals_pkey do update set
        users = t.users + excluded.users,
        reached_users = t.reached_users + excluded.reached_users,
        converting_users = t.converting_users + excluded.converting_users,
        paying_users = t.paying_users + excluded.paying_users,
        impressions = t.impressions + excluded.impressions,
        views = t.views + excluded.views,
        clicks = t.clicks + excluded.clicks,
        conversions = t.conversions + excluded.conversions,
        revenue_micros = t.revenue_micros + excluded.revenue_micros,
        cost_micros = t.cost_micros + excluded.cost_micros,
        impressions_impressions = t.impressions_impressions + excluded.impressions_impressions,
        impressions_views = t.impressions_views + excluded.impressions_views,
        impressions_clicks = t.impressions_clicks + excluded.impressions_clicks,
        views_views = t.views_views + excluded.views_views,
        views_conversions = t.views_conversions + excluded.views_conversions,
        clicks_clicks = t.clicks_clicks + excluded.clicks_clicks,
        conversions_conversions = t.conversions_conversions + excluded.conversions_conversions,
        impressions_revenue = t.impressions_revenue + excluded.impressions_revenue,
        conversions_cost = t.conversions_cost + excluded.conversions_cost,
        revenue_revenue = t.revenue_revenue + excluded.revenue_revenue,
        revenue_cost = t.revenue_cost + excluded.revenue_cost,
        cost_cost = t.cost_cost + excluded.cost_cost,
        notified_users = t.notified_users + excluded.notified_users,
        notification_deliveries = t.notification_deliveries + excluded.notification_deliveries,
        notification_opens = t.notification_opens + excluded.notification_opens,
        geofence_entries = t.geofence_entries + excluded.geofence_entries,
        unsubscribes = t.unsubscribes + excluded.unsubscribes,
        deliveries_deliveries = t.deliveries_deliveries + excluded.deliveries_deliveries,
        deliveries_opens = t.deliveries_opens + excluded.deliveries_opens,
        opens_opens = t.opens_opens + excluded.opens_opens,
        revenue_revenue_revenue = t.revenue_revenue_revenue + excluded.revenue_revenue_revenue
),
counted_merchants as (
    insert into merchant_daily as t (
        merchant_id, day, currency_code, geofence_entries, purchases, purchase_revenue_micros
    )
    select
        merchant_id, day, currency_code, sum(geofence_entries), sum(conversions), sum(revenue_micros)
    from measures
    where campaign_id is null and merchant_id <> 0 and event_type in (4, 5, 7)
    group by merchant_id, day, currency_code
    order by merchant_id, day, currency_code
    on conflict on constraint merchant_daily_pkey do update set
        geofence_entries = t.geofence_entries + excluded.geofence_entries,
        purchases = t.purchases + excluded.purchases,
        purchase_revenue_micros = t.purchase_revenue_micros + excluded.purchase_revenue_micros
),
-- Campaigns' measures and plain purchases apart; $1 is the slot of this batch.
portfolio_hours as materialized (
    select
        hour_at, day, currency_code, sum(impressions)::integer as impressions, sum(views)::integer as views,
        sum(clicks)::integer as clicks, sum(conversions)::integer as conversions,
        sum(revenue_micros) as revenue_micros,
        sum(cost_micros) as cost_micros, sum(purchases)::integer as purchases,
        sum(purchase_revenue_micros) as purchase_revenue_micros,
        sum(notification_deliveries)::integer as notification_deliveries,
        sum(notification_opens)::integer as notification_opens,
        sum(geofence_entries)::integer as geofence_entries,
        sum(unsubscribes)::integer as unsubscribes
    from (
        select
            hour_at, day, currency_code, impressions, views, clicks, conversions, revenue_micros,
            cost_micros,
            0 as purchases, 0 as purchase_revenue_micros, notification_deliveries, notification_opens,
            geofence_entries, unsubscribes
        from campaign_hours
        union all
        select
            hour_at, day, currency_code, 0, 0, 0, 0, 0, cost_micros, conversions, revenue_micros,
            notification_deliveries, notification_opens, geofence_entries, unsubscribes
        from measures
        where campaign_id is null
    ) counted
    group by hour_at, day, currency_code
),
counted_portfolio_hours as (
    insert into portfolio_analytics_hourly as t (
        hour_at, currency_code, slot, impressions, views, clicks, conversions, revenue_micros, cost_micros,
        purchases, purchase_revenue_micros, notification_deliveries, notification_opens, geofence_entries,
        unsubscribes
    )
    select
        hour_at, currency_code, $1::smallint, sum(impressions), sum(views), sum(clicks), sum(conversions),
        sum(revenue_micros), sum(cost_micros), sum(purchases), sum(purchase_revenue_micros),
        sum(notification_deliveries), sum(notification_opens), sum(geofence_entries), sum(unsubscribes)
    from portfolio_hours
    group by hour_at, currency_code
    order by hour_at, currency_code
    on conflict on constraint portfolio_analytics_hourly_pkey do update set
        impressions = t.impressions + excluded.impressions,
        views = t.views + excluded.views,
        clicks = t.clicks + excluded.clicks,
        conversions = t.conversions + excluded.conversions,
        revenue_micros = t.revenue_micros + excluded.revenue_micros,
        cost_micros = t.cost_micros + excluded.cost_micros,
        purchases = t.purchases + excluded.purchases,
        purchase_revenue_micros = t.purchase_revenue_micros + excluded.purchase_revenue_micros,
        notification_deliveries = t.notification_deliveries + excluded.notification_deliveries,
        notification_opens = t.notification_opens + excluded.notification_opens,
        geofence_entries = t.geofence_entries + excluded.geofence_entries,
        unsubscribes = t.unsubscribes + excluded.unsubscribes
),
counted_portfolio_days as (
    insert into portfolio_analytics_daily as t (
        day, currency_code, slot, impressions, views, clicks, conversions, revenue_micros, cost_micros,
        purchases, purchase_revenue_micros, notification_deliveries, notification_opens, geofence_entries,
        unsubscribes
    )
    select
        day, currency_code, $1::smallint, sum(impressions), sum(views), sum(clicks), sum(conversions),
        sum(revenue_micros), sum(cost_micros), sum(purchases), sum(purchase_revenue_micros),
        sum(notification_deliveries), sum(notification_opens), sum(geofence_entries), sum(unsubscribes)
    from portfolio_hours
    group by day, currency_code
    order by day, currency_code
    on conflict on constraint portfolio_analytics_daily_pkey do update set
        impressions = t.impressions + excluded.impressions,
        views = t.views + excluded.views,
        clicks = t.clicks + excluded.clicks,
        conversions = t.conversions + excluded.conversions,
        revenue_micros = t.revenue_micros + excluded.revenue_micros,
        cost_micros = t.cost_micros + excluded.cost_micros,
        purchases = t.purchases + excluded.purchases,
        purchase_revenue_micros = t.purchase_revenue_micros + excluded.purchase_revenue_micros,
        notification_deliveries = t.notification_deliveries + excluded.notification_deliveries,
        notification_opens = t.notification_opens + excluded.notification_opens,
        geofence_entries = t.geofence_entries + excluded.geofence_entries,
        unsubscribes = t.unsubscribes + excluded.unsubscribes
),
window_changes as materialized (
    select
        d.campaign_id, d.currency_code, sum(d.impressions) as impressions, sum(d.views) as views,
        sum(d.clicks) as clicks, sum(d.conversions) as conversions,
        sum(d.revenue_micros)::bigint as revenue_micros, sum(d.cost_micros)::bigint as cost_micros
    from campaign_days d
    join last_30_days w on d.day between w.start_day and w.end_day
    group by d.campaign_id, d.currency_code
),
window_totals as (
    insert into campaign_last_30_days as t (
        campaign_id, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros
    )
    select
        campaign_id, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros
    from window_changes
    order by campaign_id
    on conflict on constraint campaign_last_30_days_pkey do update set
        impressions = t.impressions + excluded.impressions,
        views = t.views + excluded.views,
        clicks = t.clicks + excluded.clicks,
        conversions = t.conversions + excluded.conversions,
        revenue_micros = t.revenue_micros + excluded.revenue_micros,
        cost_micros = t.cost_micros + excluded.cost_micros
    returning campaign_id, revenue_micros, cost_micros, roas_nanos, (xmax = 0) as is_new
),
-- What each campaign's change does to the portfolio's counts of campaigns: new (n) minus old (n - d).
window_campaigns as (
    select
        d.currency_code,
        count(*) filter (where n.is_new) as campaigns,
        count(*) filter (where n.cost_micros > 0 and n.cost_micros = d.cost_micros) as campaigns_with_cost,
        sum(
            coalesce(n.roas_nanos, 0)
            - coalesce(
                round(
                    (n.revenue_micros - d.revenue_micros)::numeric * 1000000000
                    / nullif(n.cost_micros - d.cost_micros, 0)
                ),
                0
            )
        ) as roas_nanos
    from window_totals n
    join window_changes d on d.campaign_id = n.campaign_id
    group by d.currency_code
),
counted_portfolio_window as (
    insert into portfolio_last_30_days as t (
        currency_code, slot, campaigns, campaigns_with_cost, roas_nanos, impressions, views, clicks,
        conversions, revenue_micros, cost_micros, purchases, purchase_revenue_micros,
        notification_deliveries, notification_opens, geofence_entries, unsubscribes
    )
    select
        h.currency_code, $1::smallint, coalesce(min(c.campaigns), 0),
        coalesce(min(c.campaigns_with_cost), 0),
        coalesce(min(c.roas_nanos), 0), sum(h.impressions), sum(h.views), sum(h.clicks), sum(h.conversions),
        sum(h.revenue_micros), sum(h.cost_micros), sum(h.purchases), sum(h.purchase_revenue_micros),
        sum(h.notification_deliveries), sum(h.notification_opens), sum(h.geofence_entries),
        sum(h.unsubscribes)
    from portfolio_hours h
    join last_30_days w on h.day between w.start_day and w.end_day
    left join window_campaigns c on c.currency_code = h.currency_code
    group by h.currency_code
    order by h.currency_code
    on conflict on constraint portfolio_last_30_days_pkey do update set
        campaigns = t.campaigns + excluded.campaigns,
        campaigns_with_cost = t.campaigns_with_cost + excluded.campaigns_with_cost,
        roas_nanos = t.roas_nanos + excluded.roas_nanos,
        impressions = t.impressions + excluded.impressions,
        views = t.views + excluded.views,
        clicks = t.clicks + excluded.clicks,
        conversions = t.conversions + excluded.conversions,
        revenue_micros = t.revenue_micros + excluded.revenue_micros,
        cost_micros = t.cost_micros + excluded.cost_micros,
        purchases = t.purchases + excluded.purchases,
        purchase_revenue_micros = t.purchase_revenue_micros + excluded.purchase_revenue_micros,
        notification_deliveries = t.notification_deliveries + excluded.notification_deliveries,
        notification_opens = t.notification_opens + excluded.notification_opens,
        geofence_entries = t.geofence_entries + excluded.geofence_entries,
        unsubscribes = t.unsubscribes + excluded.unsubscribes
)
-- Which were not new is looked for only where any was not.
select s.user_id, s.event_id
from staged_events s
where (select count(*) from inserted) < (select count(*) from staged_events)
    and not exists (select from inserted i where i.user_id = s.user_id and i.event_id = s.event_id);

-- name: list_campaign_stamps :many
-- What events of some campaigns are stamped with; unknown campaigns are absent.
select
    c.campaign_id,
    coalesce(c.counted_currency_code, c.currency_code, m.currency_code, 'USD') as currency_code,
    c.counted_currency_code is not null as is_currency_fixed,
    c.offer_amount_micros,
    c.merchant_id,
    c.channel
from campaigns c
left join merchants m on m.merchant_id = c.merchant_id
where c.campaign_id = any ($1::text[]);

-- name: list_merchant_currencies :many
-- The currencies of those of some merchants that are in the catalog and have one.
select merchant_id, currency_code
from merchants
where merchant_id = any ($1::integer[]) and currency_code is not null;

-- name: fix_currencies :exec
-- Fixes the currency of campaigns at their first event.
with chosen as (
    select c.campaign_id
    from campaigns c
    where c.campaign_id = any ($1::text[]) and c.counted_currency_code is null
    order by c.campaign_id
    for update
)
update campaigns c
set counted_currency_code = f.currency_code
from chosen
join unnest($1::text[], $2::text[]) as f (campaign_id, currency_code) using (campaign_id)
where c.campaign_id = chosen.campaign_id and c.counted_currency_code is null;

-- name: list_stored_events :many
-- Stored events by identity, as their senders sent them and with what a refund needs.
select
    e.user_id, e.event_id, e.event_type, e.stamped_fields, e.campaign_id,
    (extract(epoch from e.event_at) * 1000000)::bigint as event_micros,
    (extract(epoch from e.counted_at) * 1000000)::bigint as counted_micros, e.revenue_micros, e.cost_micros,
    e.offer_amount_micros, e.merchant_id, e.channel, e.is_machine_open, e.currency_code,
    e.original_event_id, e.custom_event_name, e.propensity, e.policy_version
from unnest($1::text[], $2::text[]) as wanted (user_id, event_id)
join events e on e.user_id = wanted.user_id and e.event_id = wanted.event_id;

-- name: lock_events :exec
-- Locks stored events by identity, in one order, so that refunds of one event come one after the other.
select 1
from events e
join unnest($1::text[], $2::text[]) as wanted (user_id, event_id)
    on e.user_id = wanted.user_id and e.event_id = wanted.event_id
order by e.user_id, e.event_id
for update of e;

-- name: list_refunds_of_originals :many
-- All stored refunds of some events.
select e.user_id, e.original_event_id, e.event_id, e.revenue_micros
from (
    select distinct user_id, event_id
    from unnest($1::text[], $2::text[]) as w (user_id, event_id)
) wanted
join events e on e.user_id = wanted.user_id and e.original_event_id = wanted.event_id;
