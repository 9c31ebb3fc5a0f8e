-- Every statement of the analytics service. Own tables are unqualified: the role's search path finds them.
-- `order by` in front of an upsert keeps one order of row locks, so that two batches do not deadlock.

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

-- name: lock_catalog :exec
-- Waits for batches under way and keeps others out until the transaction ends.
select pg_advisory_xact_lock(7202, 1);

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

-- name: list_known_merchants :many
-- Those of some merchants that are in the catalog, with their currencies.
select merchant_id, currency_code
from merchants
where merchant_id = any ($1::integer[]);

-- name: list_fixed_currencies :many
-- The currencies of those of some campaigns that have events.
select campaign_id, counted_currency_code
from campaigns
where campaign_id = any ($1::text[]) and counted_currency_code is not null;

-- name: upsert_campaigns :exec
-- Creates campaigns or takes their place; the arrays hold one element per campaign.
insert into campaigns as t (
    campaign_id, campaign_name, campaign_type, merchant_id, channel, offer_amount_micros, gross_margin_rate,
    currency_code, start_at, end_at
)
select *
from unnest(
    $1::text[], $2::text[], $3::smallint[], $4::integer[], $5::smallint[], $6::bigint[],
    $7::double precision[], $8::text[], $9::timestamptz[], $10::timestamptz[]
) as s (
    campaign_id, campaign_name, campaign_type, merchant_id, channel, offer_amount_micros, gross_margin_rate,
    currency_code, start_at, end_at
)
order by s.campaign_id
on conflict on constraint campaigns_pkey do update set
    campaign_name = excluded.campaign_name,
    campaign_type = excluded.campaign_type,
    merchant_id = excluded.merchant_id,
    channel = excluded.channel,
    offer_amount_micros = excluded.offer_amount_micros,
    gross_margin_rate = excluded.gross_margin_rate,
    currency_code = excluded.currency_code,
    start_at = excluded.start_at,
    end_at = excluded.end_at,
    updated_at = now();

-- name: list_campaigns :many
-- Campaigns after a campaign_id, by campaign_id.
select
    campaign_id, campaign_name, campaign_type, merchant_id, channel, offer_amount_micros, gross_margin_rate,
    coalesce(currency_code, counted_currency_code) as currency_code, start_at, end_at
from campaigns
where campaign_id > $1::text
order by campaign_id
limit $2::integer;

-- name: upsert_merchants :exec
-- Creates merchants or takes their place; the arrays hold one element per merchant.
insert into merchants as t (merchant_id, merchant_name, category, latitude, longitude, currency_code)
select *
from unnest(
    $1::integer[], $2::text[], $3::text[], $4::double precision[], $5::double precision[], $6::text[]
) as s (merchant_id, merchant_name, category, latitude, longitude, currency_code)
order by s.merchant_id
on conflict on constraint merchants_pkey do update set
    merchant_name = excluded.merchant_name,
    category = excluded.category,
    latitude = excluded.latitude,
    longitude = excluded.longitude,
    currency_code = excluded.currency_code,
    updated_at = now();

-- name: list_merchants :many
-- Merchants after a merchant_id, by merchant_id.
select merchant_id, merchant_name, category, latitude, longitude, currency_code
from merchants
where merchant_id > $1::integer
order by merchant_id
limit $2::integer;

-- name: ensure_segment_set :one
-- Keeps a set of segments, if it is new, and returns its number; the segments are sorted.
with created as (
    insert into segment_sets (segments)
    values ($1::text[])
    on conflict on constraint segment_sets_segments_key do nothing
    returning segment_set_id
)
select segment_set_id
from created
union all
select segment_set_id
from segment_sets
where segments = $1::text[]
limit 1;

-- name: upsert_users :exec
-- Creates users or takes their place; the arrays hold one element per user.
insert into users as t (user_id, sign_up_at, time_zone, segment_set_id)
select *
from unnest($1::text[], $2::timestamptz[], $3::text[], $4::integer[])
    as s (user_id, sign_up_at, time_zone, segment_set_id)
order by s.user_id
on conflict on constraint users_pkey do update set
    sign_up_at = excluded.sign_up_at,
    time_zone = excluded.time_zone,
    segment_set_id = excluded.segment_set_id,
    updated_at = now();

-- name: list_users :many
-- Users after a user_id, by user_id.
select u.user_id, u.sign_up_at, u.time_zone, coalesce(s.segments, '{}'::text[]) as segments
from users u
left join segment_sets s on s.segment_set_id = u.segment_set_id
where u.user_id > $1::text
order by u.user_id
limit $2::integer;

-- name: fetch_campaign_life :one
-- A campaign's currency, and its whole life with the sums over its users; all sums are null before its first
-- event.
select
    c.counted_currency_code, t.users, t.reached_users, t.converting_users, t.paying_users, t.impressions,
    t.views, t.clicks, t.conversions, t.revenue_micros, t.cost_micros, t.impressions_impressions,
    t.impressions_views, t.impressions_clicks, t.views_views, t.views_conversions, t.clicks_clicks,
    t.conversions_conversions, t.impressions_revenue, t.conversions_cost, t.revenue_revenue, t.revenue_cost,
    t.cost_cost
from campaigns c
left join campaign_totals t on t.campaign_id = c.campaign_id
where c.campaign_id = $1::text;

-- name: fetch_campaign_days_bounds :one
-- A campaign's currency, and the first and last of its days.
select
    c.counted_currency_code,
    (select min(d.day) from campaign_analytics_daily d where d.campaign_id = c.campaign_id) as first_day,
    (select max(d.day) from campaign_analytics_daily d where d.campaign_id = c.campaign_id) as last_day
from campaigns c
where c.campaign_id = $1::text;

-- name: list_campaign_days :many
-- A campaign's counts of the days from $2 to $3, both included.
select day, impressions, views, clicks, conversions, revenue_micros, cost_micros
from campaign_analytics_daily
where campaign_id = $1::text and day between $2::date and $3::date
order by day;

-- name: list_campaign_hours :many
-- A campaign's counts of the hours from $2, before $3.
select hour_at, impressions, views, clicks, conversions, revenue_micros, cost_micros
from campaign_trend_data
where campaign_id = $1::text and hour_at >= $2::timestamptz and hour_at < $3::timestamptz
order by hour_at;

-- name: fetch_range_user_moments :one
-- The counts and the sums over users of a campaign's events from $2, before $3; refunds at their originals'
-- time. Exact: read from two indexes that hold all it needs.
with chosen as (
    select
        user_id,
        (event_type = 1)::integer as impressions,
        (event_type = 2)::integer as views,
        (event_type = 3)::integer as clicks,
        (event_type = 4)::integer as conversions,
        coalesce(revenue_micros, 0) as revenue_micros,
        coalesce(cost_micros, 0) as cost_micros
    from events
    where campaign_id = $1::text
        and event_at >= $2::timestamptz and event_at < $3::timestamptz
        and event_type <> 5
    union all
    select user_id, 0, 0, 0, 0, -revenue_micros, coalesce(cost_micros, 0)
    from events
    where campaign_id = $1::text
        and counted_at >= $2::timestamptz and counted_at < $3::timestamptz
        and event_type = 5
),
per_user as (
    select
        sum(impressions) as impressions, sum(views) as views, sum(clicks) as clicks,
        sum(conversions) as conversions, sum(revenue_micros)::bigint as revenue_micros,
        sum(cost_micros)::bigint as cost_micros
    from chosen
    group by user_id
)
select
    count(*) as users,
    count(*) filter (where impressions > 0) as reached_users,
    count(*) filter (where impressions > 0 and conversions > 0) as converting_users,
    count(*) filter (where revenue_micros > 0) as paying_users,
    coalesce(sum(impressions), 0)::bigint as impressions,
    coalesce(sum(views), 0)::bigint as views,
    coalesce(sum(clicks), 0)::bigint as clicks,
    coalesce(sum(conversions), 0)::bigint as conversions,
    coalesce(sum(revenue_micros), 0)::bigint as revenue_micros,
    coalesce(sum(cost_micros), 0)::bigint as cost_micros,
    coalesce(sum(impressions * impressions), 0)::bigint as impressions_impressions,
    coalesce(sum(impressions * views), 0)::bigint as impressions_views,
    coalesce(sum(impressions * clicks), 0)::bigint as impressions_clicks,
    coalesce(sum(views * views), 0)::bigint as views_views,
    coalesce(sum(views * conversions), 0)::bigint as views_conversions,
    coalesce(sum(clicks * clicks), 0)::bigint as clicks_clicks,
    coalesce(sum(conversions * conversions), 0)::bigint as conversions_conversions,
    coalesce(sum(impressions::numeric * revenue_micros), 0) as impressions_revenue,
    coalesce(sum(conversions::numeric * cost_micros), 0) as conversions_cost,
    coalesce(sum(revenue_micros::numeric * revenue_micros), 0) as revenue_revenue,
    coalesce(sum(revenue_micros::numeric * cost_micros), 0) as revenue_cost,
    coalesce(sum(cost_micros::numeric * cost_micros), 0) as cost_cost
from per_user;

-- name: list_portfolio_days :many
-- The portfolio's counts of the days from $1 to $2, both included, per currency, slots added.
select
    currency_code,
    sum(impressions)::bigint as impressions,
    sum(views)::bigint as views,
    sum(clicks)::bigint as clicks,
    sum(conversions)::bigint as conversions,
    sum(revenue_micros)::bigint as revenue_micros,
    sum(cost_micros)::bigint as cost_micros,
    sum(purchases)::bigint as purchases,
    sum(purchase_revenue_micros)::bigint as purchase_revenue_micros
from portfolio_analytics_daily
where day between $1::date and $2::date
group by currency_code
order by currency_code;

-- name: list_portfolio_campaigns :many
-- Every campaign with an event on the days from $1 to $2, both included, and what it did.
select
    d.campaign_id,
    c.counted_currency_code as currency_code,
    sum(d.impressions)::bigint as impressions,
    sum(d.views)::bigint as views,
    sum(d.clicks)::bigint as clicks,
    sum(d.conversions)::bigint as conversions,
    sum(d.revenue_micros)::bigint as revenue_micros,
    sum(d.cost_micros)::bigint as cost_micros
from campaign_analytics_daily d
join campaigns c on c.campaign_id = d.campaign_id
where d.day between $1::date and $2::date
group by d.campaign_id, c.counted_currency_code
order by d.campaign_id;

-- name: list_partial_day :many
-- What was counted from $1 up to $2, included, per campaign (null: no campaign) and currency.
select
    campaign_id,
    currency_code,
    count(*) filter (where event_type = 1) as impressions,
    count(*) filter (where event_type = 2) as views,
    count(*) filter (where event_type = 3) as clicks,
    count(*) filter (where event_type = 4) as conversions,
    coalesce(sum(case when event_type = 5 then -revenue_micros else revenue_micros end), 0)::bigint
        as revenue_micros,
    coalesce(sum(cost_micros), 0)::bigint as cost_micros
from events
where counted_at >= $1::timestamptz and counted_at <= $2::timestamptz
group by campaign_id, currency_code
order by campaign_id, currency_code;

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
-- Rows of campaign_analytics_daily that a recount does not have, and rows of the recount that it lacks.
with recounted as materialized (
    select
        campaign_id, day, impressions, views, clicks, conversions, revenue_micros,
        cost_micros
    from recounted_campaign_analytics_daily
),
stored as materialized (
    select
        campaign_id, day, impressions, views, clicks, conversions, revenue_micros,
        cost_micros
    from campaign_analytics_daily
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d;

-- name: list_differences_of_campaign_trend_data :many
-- Rows of campaign_trend_data that a recount does not have, and rows of the recount that it lacks.
with recounted as materialized (
    select
        campaign_id, hour_at, impressions, views, clicks, conversions, revenue_micros,
        cost_micros
    from recounted_campaign_trend_data
),
stored as materialized (
    select
        campaign_id, hour_at, impressions, views, clicks, conversions, revenue_micros,
        cost_micros
    from campaign_trend_data
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d;

-- name: list_differences_of_campaign_offer_daily :many
-- Rows of campaign_offer_daily that a recount does not have, and rows of the recount that it lacks.
with recounted as materialized (
    select
        campaign_id, day, offer_amount_micros, impressions, views, clicks, conversions, revenue_micros,
        cost_micros
    from recounted_campaign_offer_daily
),
stored as materialized (
    select
        campaign_id, day, offer_amount_micros, impressions, views, clicks, conversions, revenue_micros,
        cost_micros
    from campaign_offer_daily
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d;

-- name: list_differences_of_campaign_segment_analytics :many
-- Rows of campaign_segment_analytics that a recount does not have, and rows of the recount that it lacks.
with recounted as materialized (
    select
        campaign_id, segment_name, impressions, views, clicks, conversions, revenue_micros,
        cost_micros
    from recounted_campaign_segment_analytics
),
stored as materialized (
    select
        campaign_id, segment_name, impressions, views, clicks, conversions, revenue_micros,
        cost_micros
    from campaign_segment_analytics
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d;

-- name: list_differences_of_campaign_user_totals :many
-- Rows of campaign_user_totals that a recount does not have, and rows of the recount that it lacks.
with recounted as materialized (
    select
        campaign_id, user_id, impressions, views, clicks, conversions, revenue_micros,
        cost_micros, first_event_at
    from recounted_campaign_user_totals
),
stored as materialized (
    select
        campaign_id, user_id, impressions, views, clicks, conversions, revenue_micros,
        cost_micros, first_event_at
    from campaign_user_totals
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d;

-- name: list_differences_of_campaign_totals :many
-- Rows of campaign_totals that a recount does not have, and rows of the recount that it lacks.
with recounted as materialized (
    select
        campaign_id, users, reached_users, converting_users, paying_users, impressions, views, clicks,
        conversions, revenue_micros, cost_micros, impressions_impressions, impressions_views,
        impressions_clicks, views_views, views_conversions, clicks_clicks, conversions_conversions,
        impressions_revenue, conversions_cost, revenue_revenue, revenue_cost, cost_cost
    from recounted_campaign_totals
),
stored as materialized (
    select
        campaign_id, users, reached_users, converting_users, paying_users, impressions, views, clicks,
        conversions, revenue_micros, cost_micros, impressions_impressions, impressions_views,
        impressions_clicks, views_views, views_conversions, clicks_clicks, conversions_conversions,
        impressions_revenue, conversions_cost, revenue_revenue, revenue_cost, cost_cost
    from campaign_totals
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d;

-- name: list_differences_of_portfolio_analytics_daily :many
-- Rows of portfolio_analytics_daily that a recount does not have, and rows of the recount that it lacks.
with recounted as materialized (
    select
        day, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros, purchases,
        purchase_revenue_micros
    from recounted_portfolio_analytics_daily
),
stored as materialized (
    select
        day, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros, purchases,
        purchase_revenue_micros
    from portfolio_performance_daily
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d;

-- name: clear_campaign_analytics_daily :exec
-- Empties campaign_analytics_daily before a rebuild.
delete from campaign_analytics_daily;

-- name: rebuild_campaign_analytics_daily :exec
-- Fills campaign_analytics_daily from the raw events.
insert into campaign_analytics_daily (
        campaign_id, day, impressions, views, clicks, conversions, revenue_micros,
        cost_micros
)
select
        campaign_id, day, impressions, views, clicks, conversions, revenue_micros,
        cost_micros
from recounted_campaign_analytics_daily;

-- name: clear_campaign_trend_data :exec
-- Empties campaign_trend_data before a rebuild.
delete from campaign_trend_data;

-- name: rebuild_campaign_trend_data :exec
-- Fills campaign_trend_data from the raw events.
insert into campaign_trend_data (
        campaign_id, hour_at, impressions, views, clicks, conversions, revenue_micros,
        cost_micros
)
select
        campaign_id, hour_at, impressions, views, clicks, conversions, revenue_micros,
        cost_micros
from recounted_campaign_trend_data;

-- name: clear_campaign_offer_daily :exec
-- Empties campaign_offer_daily before a rebuild.
delete from campaign_offer_daily;

-- name: rebuild_campaign_offer_daily :exec
-- Fills campaign_offer_daily from the raw events.
insert into campaign_offer_daily (
        campaign_id, day, offer_amount_micros, impressions, views, clicks, conversions, revenue_micros,
        cost_micros
)
select
        campaign_id, day, offer_amount_micros, impressions, views, clicks, conversions, revenue_micros,
        cost_micros
from recounted_campaign_offer_daily;

-- name: clear_campaign_segment_analytics :exec
-- Empties campaign_segment_analytics before a rebuild.
delete from campaign_segment_analytics;

-- name: rebuild_campaign_segment_analytics :exec
-- Fills campaign_segment_analytics from the raw events.
insert into campaign_segment_analytics (
        campaign_id, segment_name, impressions, views, clicks, conversions, revenue_micros,
        cost_micros
)
select
        campaign_id, segment_name, impressions, views, clicks, conversions, revenue_micros,
        cost_micros
from recounted_campaign_segment_analytics;

-- name: clear_campaign_user_totals :exec
-- Empties campaign_user_totals before a rebuild.
delete from campaign_user_totals;

-- name: rebuild_campaign_user_totals :exec
-- Fills campaign_user_totals from the raw events.
insert into campaign_user_totals (
        campaign_id, user_id, impressions, views, clicks, conversions, revenue_micros,
        cost_micros, first_event_at
)
select
        campaign_id, user_id, impressions, views, clicks, conversions, revenue_micros,
        cost_micros, first_event_at
from recounted_campaign_user_totals;

-- name: clear_campaign_totals :exec
-- Empties campaign_totals before a rebuild.
delete from campaign_totals;

-- name: rebuild_campaign_totals :exec
-- Fills campaign_totals from the raw events.
insert into campaign_totals (
        campaign_id, users, reached_users, converting_users, paying_users, impressions, views, clicks,
        conversions, revenue_micros, cost_micros, impressions_impressions, impressions_views,
        impressions_clicks, views_views, views_conversions, clicks_clicks, conversions_conversions,
        impressions_revenue, conversions_cost, revenue_revenue, revenue_cost, cost_cost
)
select
        campaign_id, users, reached_users, converting_users, paying_users, impressions, views, clicks,
        conversions, revenue_micros, cost_micros, impressions_impressions, impressions_views,
        impressions_clicks, views_views, views_conversions, clicks_clicks, conversions_conversions,
        impressions_revenue, conversions_cost, revenue_revenue, revenue_cost, cost_cost
from recounted_campaign_totals;

-- name: clear_portfolio_analytics_daily :exec
-- Empties portfolio_analytics_daily before a rebuild.
delete from portfolio_analytics_daily;

-- name: rebuild_portfolio_analytics_daily :exec
-- Fills portfolio_analytics_daily from the raw events.
insert into portfolio_analytics_daily (
        day, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros, purchases,
        purchase_revenue_micros, slot
)
select
        day, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros, purchases,
        purchase_revenue_micros, 0
from recounted_portfolio_analytics_daily;
