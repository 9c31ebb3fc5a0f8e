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
        s.offer_amount_micros, s.merchant_id, u.segment_set_id, s.event_type, s.channel, s.stamped_fields,
        s.is_machine_open, s.currency_code, s.original_event_id, s.custom_event_name, s.propensity,
        s.policy_version
    from staged_events s
    left join users u on u.user_id = s.user_id
    order by s.user_id, s.event_id
    on conflict on constraint events_pkey do nothing
    returning
        user_id, event_id, campaign_id, event_at, counted_at, revenue_micros, cost_micros,
        offer_amount_micros, segment_set_id, event_type, currency_code
),
-- One event's share of every measure; a refund takes its revenue away.
measures as materialized (
    select
        i.campaign_id, i.user_id, i.segment_set_id, i.currency_code, i.event_at,
        coalesce(i.offer_amount_micros, -1) as offer_amount_micros,
        date_trunc('hour', i.counted_at, z.reporting_time_zone) as hour_at,
        (i.counted_at at time zone z.reporting_time_zone)::date as day,
        (i.event_type = 1)::integer as impressions,
        (i.event_type = 2)::integer as views,
        (i.event_type = 3)::integer as clicks,
        (i.event_type = 4)::integer as conversions,
        coalesce(case when i.event_type = 5 then -i.revenue_micros else i.revenue_micros end, 0)
            as revenue_micros,
        coalesce(i.cost_micros, 0) as cost_micros
    from inserted i
    cross join reporting_settings z
),
campaign_hours as materialized (
    select
        campaign_id, hour_at, day, offer_amount_micros, currency_code,
        sum(impressions) as impressions, sum(views) as views, sum(clicks) as clicks,
        sum(conversions) as conversions, sum(revenue_micros)::bigint as revenue_micros,
        sum(cost_micros)::bigint as cost_micros
    from measures
    where campaign_id is not null
    group by campaign_id, hour_at, day, offer_amount_micros, currency_code
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
counted_days as (
    insert into campaign_analytics_daily as t (
        campaign_id, day, impressions, views, clicks, conversions, revenue_micros, cost_micros
    )
    select
        campaign_id, day, sum(impressions), sum(views), sum(clicks), sum(conversions), sum(revenue_micros),
        sum(cost_micros)
    from campaign_hours
    group by campaign_id, day
    order by campaign_id, day
    on conflict on constraint campaign_analytics_daily_pkey do update set
        impressions = t.impressions + excluded.impressions,
        views = t.views + excluded.views,
        clicks = t.clicks + excluded.clicks,
        conversions = t.conversions + excluded.conversions,
        revenue_micros = t.revenue_micros + excluded.revenue_micros,
        cost_micros = t.cost_micros + excluded.cost_micros
),
counted_offers as (
    insert into campaign_offer_daily as t (
        campaign_id, day, offer_amount_micros, impressions, views, clicks, conversions, revenue_micros,
        cost_micros
    )
    select
        campaign_id, day, offer_amount_micros, sum(impressions), sum(views), sum(clicks), sum(conversions),
        sum(revenue_micros), sum(cost_micros)
    from campaign_hours
    group by campaign_id, day, offer_amount_micros
    order by campaign_id, day, offer_amount_micros
    on conflict on constraint campaign_offer_daily_pkey do update set
        impressions = t.impressions + excluded.impressions,
        views = t.views + excluded.views,
        clicks = t.clicks + excluded.clicks,
        conversions = t.conversions + excluded.conversions,
        revenue_micros = t.revenue_micros + excluded.revenue_micros,
        cost_micros = t.cost_micros + excluded.cost_micros
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
            campaign_id, segment_set_id, sum(impressions) as impressions, sum(views) as views,
            sum(clicks) as clicks, sum(conversions) as conversions, sum(revenue_micros) as revenue_micros,
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
        sum(cost_micros)::bigint as cost_micros, min(event_at) as first_event_at
    from measures
    where campaign_id is not null
    group by campaign_id, user_id
),
user_totals as (
    insert into campaign_user_totals as t (
        campaign_id, user_id, impressions, views, clicks, conversions, revenue_micros, cost_micros,
        first_event_at
    )
    select
        campaign_id, user_id, impressions, views, clicks, conversions, revenue_micros, cost_micros,
        first_event_at
    from user_changes
    order by campaign_id, user_id
    on conflict on constraint campaign_user_totals_pkey do update set
        impressions = t.impressions + excluded.impressions,
        views = t.views + excluded.views,
        clicks = t.clicks + excluded.clicks,
        conversions = t.conversions + excluded.conversions,
        revenue_micros = t.revenue_micros + excluded.revenue_micros,
        cost_micros = t.cost_micros + excluded.cost_micros,
        first_event_at = least(t.first_event_at, excluded.first_event_at)
    returning
        campaign_id, user_id, impressions, views, clicks, conversions, revenue_micros, cost_micros,
        (xmax = 0) as is_new
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
        sum(d.impressions) as impressions,
        sum(d.views) as views,
        sum(d.clicks) as clicks,
        sum(d.conversions) as conversions,
        sum(d.revenue_micros) as revenue_micros,
        sum(d.cost_micros) as cost_micros,
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
        sum(
            n.impressions::numeric * n.revenue_micros
            - (n.impressions - d.impressions)::numeric * (n.revenue_micros - d.revenue_micros)
        ) as impressions_revenue,
        sum(
            n.conversions::numeric * n.cost_micros
            - (n.conversions - d.conversions)::numeric * (n.cost_micros - d.cost_micros)
        ) as conversions_cost,
        sum(d.revenue_micros::numeric * (2 * n.revenue_micros - d.revenue_micros)) as revenue_revenue,
        sum(
            n.revenue_micros::numeric * n.cost_micros
            - (n.revenue_micros - d.revenue_micros)::numeric * (n.cost_micros - d.cost_micros)
        ) as revenue_cost,
        sum(d.cost_micros::numeric * (2 * n.cost_micros - d.cost_micros)) as cost_cost
    from user_totals n
    join user_changes d on d.campaign_id = n.campaign_id and d.user_id = n.user_id
    group by n.campaign_id
),
counted_totals as (
    insert into campaign_totals as t (
        campaign_id, users, reached_users, converting_users, paying_users, impressions, views, clicks,
        conversions, revenue_micros, cost_micros, impressions_impressions, impressions_views, impressions_clicks,
        views_views, views_conversions, clicks_clicks, conversions_conversions, impressions_revenue,
        conversions_cost, revenue_revenue, revenue_cost, cost_cost
    )
    select
        campaign_id, users, reached_users, converting_users, paying_users, impressions, views, clicks,
        conversions, revenue_micros, cost_micros, impressions_impressions, impressions_views, impressions_clicks,
        views_views, views_conversions, clicks_clicks, conversions_conversions, impressions_revenue,
        conversions_cost, revenue_revenue, revenue_cost, cost_cost
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
        cost_cost = t.cost_cost + excluded.cost_cost
),
-- Campaigns' measures and plain purchases apart; $1 is the slot of this batch.
portfolio_days as (
    select
        day, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros,
        0 as purchases, 0 as purchase_revenue_micros
    from campaign_hours
    union all
    select day, currency_code, 0, 0, 0, 0, 0, cost_micros, conversions, revenue_micros
    from measures
    where campaign_id is null
),
counted_portfolio as (
    insert into portfolio_analytics_daily as t (
        day, currency_code, slot, impressions, views, clicks, conversions, revenue_micros, cost_micros,
        purchases, purchase_revenue_micros
    )
    select
        day, currency_code, $1::smallint, sum(impressions), sum(views), sum(clicks), sum(conversions),
        sum(revenue_micros), sum(cost_micros), sum(purchases), sum(purchase_revenue_micros)
    from portfolio_days
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
        purchase_revenue_micros = t.purchase_revenue_micros + excluded.purchase_revenue_micros
)
select s.user_id, s.event_id
from staged_events s
where not exists (select from inserted i where i.user_id = s.user_id and i.event_id = s.event_id);

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
