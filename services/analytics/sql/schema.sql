-- The schema of analytics as a whole, for reading; the migrations make it, and a test proves the two equal.

-- The reporting zone decides which hour and day an event counts in; one row, written at the first start.
create table analytics.reporting_settings (
    singleton boolean not null default true,
    reporting_time_zone text not null,
    constraint reporting_settings_pkey primary key (singleton),
    constraint reporting_settings_one_row check (singleton)
);

-- A set of segments under a small number, so that events and rollups carry the number and not the names.
create table analytics.segment_sets (
    segment_set_id integer generated always as identity,
    segments text[] not null,
    constraint segment_sets_pkey primary key (segment_set_id),
    constraint segment_sets_segments_key unique (segments)
);

create table analytics.merchants (
    merchant_id integer not null,
    merchant_name text,
    category text,
    latitude double precision,
    longitude double precision,
    currency_code text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint merchants_pkey primary key (merchant_id)
);

-- counted_currency_code is the currency fixed by the campaign's first event.
create table analytics.campaigns (
    campaign_id text not null,
    campaign_name text,
    campaign_type smallint,
    merchant_id integer,
    channel smallint,
    offer_amount_micros bigint,
    gross_margin_rate double precision,
    currency_code text,
    start_at timestamptz,
    end_at timestamptz,
    counted_currency_code text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint campaigns_pkey primary key (campaign_id),
    constraint campaigns_offer_not_negative check (offer_amount_micros >= 0),
    constraint campaigns_margin_is_fraction check (gross_margin_rate between 0 and 1),
    constraint campaigns_end_after_start check (end_at > start_at)
);

create table analytics.users (
    user_id text not null,
    sign_up_at timestamptz,
    time_zone text,
    segment_set_id integer,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint users_pkey primary key (user_id)
);

grant select, insert, update, delete on
    analytics.reporting_settings, analytics.segment_sets, analytics.merchants, analytics.campaigns,
    analytics.users
    to analytics;
grant select on
    analytics.reporting_settings, analytics.segment_sets, analytics.merchants, analytics.campaigns,
    analytics.users
    to reporting;

-- Every acknowledged event, once. `counted_at` is the time whose hour and day the event counts in: its own,
-- or for a refund its original's. `stamped_fields` tells what the sender left out and the catalog filled in
-- (1 offer_amount_micros, 2 merchant_id, 4 channel, added), so that the same event sent again is known as the
-- same whatever the catalog says by then.
create table analytics.events (
    user_id text not null,
    event_id text not null,
    campaign_id text,
    event_at timestamptz not null,
    counted_at timestamptz not null,
    revenue_micros bigint,
    cost_micros bigint,
    offer_amount_micros bigint,
    merchant_id integer,
    segment_set_id integer,
    event_type smallint not null,
    channel smallint,
    stamped_fields smallint not null,
    is_machine_open boolean not null,
    currency_code text not null,
    original_event_id text,
    custom_event_name text,
    propensity double precision,
    policy_version text,
    received_at timestamptz not null default now(),
    constraint events_pkey primary key (user_id, event_id)
);

-- For fetch_range_user_moments, and for neighbours that read one campaign's events by time: everything a
-- range's statistics need is in the index.
create index events_campaign_time_idx on analytics.events (campaign_id, event_at)
    include (user_id, event_type, revenue_micros, cost_micros)
    where campaign_id is not null;

-- For fetch_range_user_moments: a refund counts at its original's time, not at its own.
create index events_refund_counted_idx on analytics.events (campaign_id, counted_at)
    include (user_id, revenue_micros, cost_micros)
    where event_type = 5;

-- For list_refunds_of_originals: what was refunded already of an event.
create index events_original_idx on analytics.events (user_id, original_event_id)
    include (event_id, revenue_micros)
    where original_event_id is not null;

-- For list_partial_day: everybody's events of a part of one day.
create index events_counted_idx on analytics.events using brin (counted_at) with (pages_per_range = 32);

grant select, insert, update, delete on analytics.events to analytics;
grant select on analytics.events to reporting;

-- One row per campaign and day of the reporting zone. The measures are in the key's index, so that a range
-- of one campaign is read without visiting the table.
create table analytics.campaign_analytics_daily (
    campaign_id text not null,
    day date not null,
    impressions bigint not null,
    views bigint not null,
    clicks bigint not null,
    conversions bigint not null,
    revenue_micros bigint not null,
    cost_micros bigint not null,
    constraint campaign_analytics_daily_pkey primary key (campaign_id, day)
        include (impressions, views, clicks, conversions, revenue_micros, cost_micros)
);

-- For list_portfolio_campaigns: every campaign's rows of a few days.
create index campaign_analytics_daily_day_idx on analytics.campaign_analytics_daily
    using brin (day) with (pages_per_range = 16);

-- One row per campaign and hour of the reporting zone; weeks and months are added from the days.
create table analytics.campaign_trend_data (
    campaign_id text not null,
    hour_at timestamptz not null,
    impressions bigint not null,
    views bigint not null,
    clicks bigint not null,
    conversions bigint not null,
    revenue_micros bigint not null,
    cost_micros bigint not null,
    constraint campaign_trend_data_pkey primary key (campaign_id, hour_at)
);

-- One row per campaign and segment as stamped on the events; '' holds events of unsegmented users. A user
-- of several segments counts in each of them.
create table analytics.campaign_segment_analytics (
    campaign_id text not null,
    segment_name text not null,
    impressions bigint not null,
    views bigint not null,
    clicks bigint not null,
    conversions bigint not null,
    revenue_micros bigint not null,
    cost_micros bigint not null,
    constraint campaign_segment_analytics_pkey primary key (campaign_id, segment_name)
);

-- One row per campaign, day and offer as sent; -1 holds events whose offer is unknown.
create table analytics.campaign_offer_daily (
    campaign_id text not null,
    day date not null,
    offer_amount_micros bigint not null,
    impressions bigint not null,
    views bigint not null,
    clicks bigint not null,
    conversions bigint not null,
    revenue_micros bigint not null,
    cost_micros bigint not null,
    constraint campaign_offer_daily_pkey primary key (campaign_id, day, offer_amount_micros)
);

-- For neighbours that read all campaigns of the last days.
create index campaign_offer_daily_day_idx on analytics.campaign_offer_daily
    using brin (day) with (pages_per_range = 16);

-- One row per campaign and user: the user is the unit of every interval.
create table analytics.campaign_user_totals (
    campaign_id text not null,
    user_id text not null,
    impressions bigint not null,
    views bigint not null,
    clicks bigint not null,
    conversions bigint not null,
    revenue_micros bigint not null,
    cost_micros bigint not null,
    first_event_at timestamptz not null,
    constraint campaign_user_totals_pkey primary key (campaign_id, user_id)
) with (fillfactor = 80);

-- One row per campaign: its whole life, and the sums of squares and products over users that turn into
-- intervals. Products with money are numeric, because micros squared leave a bigint's range.
create table analytics.campaign_totals (
    campaign_id text not null,
    users bigint not null,
    reached_users bigint not null,
    converting_users bigint not null,
    paying_users bigint not null,
    impressions bigint not null,
    views bigint not null,
    clicks bigint not null,
    conversions bigint not null,
    revenue_micros bigint not null,
    cost_micros bigint not null,
    impressions_impressions bigint not null,
    impressions_views bigint not null,
    impressions_clicks bigint not null,
    views_views bigint not null,
    views_conversions bigint not null,
    clicks_clicks bigint not null,
    conversions_conversions bigint not null,
    impressions_revenue numeric not null,
    conversions_cost numeric not null,
    revenue_revenue numeric not null,
    revenue_cost numeric not null,
    cost_cost numeric not null,
    constraint campaign_totals_pkey primary key (campaign_id)
) with (fillfactor = 50);

-- One day of everything, per currency, split into slots that are added on read, because
-- every commit touches today.
create table analytics.portfolio_analytics_daily (
    day date not null,
    currency_code text not null,
    slot smallint not null,
    impressions bigint not null,
    views bigint not null,
    clicks bigint not null,
    conversions bigint not null,
    revenue_micros bigint not null,
    cost_micros bigint not null,
    purchases bigint not null,
    purchase_revenue_micros bigint not null,
    constraint portfolio_analytics_daily_pkey primary key (day, currency_code, slot)
) with (fillfactor = 50);

-- A campaign's whole life in one row, for people.
create view analytics.campaign_performance as
select
    t.campaign_id,
    c.campaign_name,
    c.counted_currency_code as currency_code,
    t.reached_users,
    t.converting_users,
    t.impressions,
    t.views,
    t.clicks,
    t.conversions,
    t.revenue_micros,
    t.cost_micros,
    t.revenue_micros - t.cost_micros as profit_micros,
    t.views::double precision / nullif(t.impressions, 0) as view_rate,
    t.clicks::double precision / nullif(t.impressions, 0) as ctr,
    t.conversions::double precision / nullif(t.views, 0) as conversion_rate,
    t.revenue_micros::double precision / nullif(t.cost_micros, 0) as roas
from analytics.campaign_totals t
left join analytics.campaigns c using (campaign_id);

-- A day of the portfolio per currency in one row, its slots added.
create view analytics.portfolio_performance_daily as
select
    day,
    currency_code,
    sum(impressions)::bigint as impressions,
    sum(views)::bigint as views,
    sum(clicks)::bigint as clicks,
    sum(conversions)::bigint as conversions,
    sum(revenue_micros)::bigint as revenue_micros,
    sum(cost_micros)::bigint as cost_micros,
    sum(purchases)::bigint as purchases,
    sum(purchase_revenue_micros)::bigint as purchase_revenue_micros
from analytics.portfolio_analytics_daily
group by day, currency_code;

grant select, insert, update, delete on
    analytics.campaign_analytics_daily, analytics.campaign_trend_data, analytics.campaign_segment_analytics,
    analytics.campaign_offer_daily, analytics.campaign_user_totals, analytics.campaign_totals,
    analytics.portfolio_analytics_daily
    to analytics;
grant select on
    analytics.campaign_analytics_daily, analytics.campaign_trend_data, analytics.campaign_segment_analytics,
    analytics.campaign_offer_daily, analytics.campaign_user_totals, analytics.campaign_totals,
    analytics.portfolio_analytics_daily, analytics.campaign_performance,
    analytics.portfolio_performance_daily
    to reporting;
grant select on analytics.campaign_performance, analytics.portfolio_performance_daily to analytics;

-- What neighbours may read, version 1: columns may be added at the end, nothing else may change.

create view analytics_v1.reporting_settings as
select reporting_time_zone
from analytics.reporting_settings;

create view analytics_v1.campaigns as
select
    campaign_id, campaign_name, campaign_type, merchant_id, channel, offer_amount_micros, gross_margin_rate,
    coalesce(counted_currency_code, currency_code) as currency_code, start_at, end_at
from analytics.campaigns;

create view analytics_v1.merchants as
select merchant_id, merchant_name, category, latitude, longitude, currency_code
from analytics.merchants;

create view analytics_v1.users as
select u.user_id, u.sign_up_at, u.time_zone, coalesce(s.segments, '{}'::text[]) as segments
from analytics.users u
left join analytics.segment_sets s using (segment_set_id);

-- Events with a campaign, by their own time (a refund's too).
create view analytics_v1.campaign_user_events as
select
    campaign_id, user_id, event_id, event_type, event_at, merchant_id, revenue_micros, cost_micros,
    offer_amount_micros, channel, is_machine_open, custom_event_name, propensity, policy_version
from analytics.events
where campaign_id is not null;

-- Plain purchases: conversions at a merchant without a campaign. Refunds of them are not subtracted here.
create view analytics_v1.purchases as
select user_id, event_id, merchant_id, event_at, revenue_micros
from analytics.events
where campaign_id is null and event_type = 4;

-- By the offer as sent (null where unknown) and the day of the reporting zone; a refund subtracts from its
-- original's day and offer.
create view analytics_v1.campaign_offer_daily as
select
    campaign_id, day, nullif(offer_amount_micros, -1) as offer_amount_micros, impressions, views, clicks,
    conversions, revenue_micros, cost_micros
from analytics.campaign_offer_daily;

grant select on
    analytics_v1.reporting_settings, analytics_v1.campaigns, analytics_v1.merchants, analytics_v1.users,
    analytics_v1.campaign_user_events, analytics_v1.purchases, analytics_v1.campaign_offer_daily
    to analytics, analytics_reader, reporting;

-- What every rollup must be, counted again from the raw events: `reconcile` compares with these, and `rebuild`
-- fills the rollups from them.

create view analytics.recounted_measures as
select
    e.campaign_id, e.user_id, e.segment_set_id, e.currency_code, e.event_at,
    coalesce(e.offer_amount_micros, -1) as offer_amount_micros,
    date_trunc('hour', e.counted_at, z.reporting_time_zone) as hour_at,
    (e.counted_at at time zone z.reporting_time_zone)::date as day,
    (e.event_type = 1)::integer as impressions,
    (e.event_type = 2)::integer as views,
    (e.event_type = 3)::integer as clicks,
    (e.event_type = 4)::integer as conversions,
    coalesce(case when e.event_type = 5 then -e.revenue_micros else e.revenue_micros end, 0)
        as revenue_micros,
    coalesce(e.cost_micros, 0) as cost_micros
from analytics.events e
cross join analytics.reporting_settings z;

create view analytics.recounted_campaign_analytics_daily as
select
    campaign_id, day,
    sum(impressions)::bigint as impressions,
    sum(views)::bigint as views,
    sum(clicks)::bigint as clicks,
    sum(conversions)::bigint as conversions,
    sum(revenue_micros)::bigint as revenue_micros,
    sum(cost_micros)::bigint as cost_micros
from analytics.recounted_measures
where campaign_id is not null
group by campaign_id, day;

create view analytics.recounted_campaign_trend_data as
select
    campaign_id, hour_at,
    sum(impressions)::bigint as impressions,
    sum(views)::bigint as views,
    sum(clicks)::bigint as clicks,
    sum(conversions)::bigint as conversions,
    sum(revenue_micros)::bigint as revenue_micros,
    sum(cost_micros)::bigint as cost_micros
from analytics.recounted_measures
where campaign_id is not null
group by campaign_id, hour_at;

create view analytics.recounted_campaign_offer_daily as
select
    campaign_id, day, offer_amount_micros,
    sum(impressions)::bigint as impressions,
    sum(views)::bigint as views,
    sum(clicks)::bigint as clicks,
    sum(conversions)::bigint as conversions,
    sum(revenue_micros)::bigint as revenue_micros,
    sum(cost_micros)::bigint as cost_micros
from analytics.recounted_measures
where campaign_id is not null
group by campaign_id, day, offer_amount_micros;

create view analytics.recounted_campaign_segment_analytics as
select
    m.campaign_id, coalesce(n.segment_name, '') as segment_name,
    sum(m.impressions)::bigint as impressions,
    sum(m.views)::bigint as views,
    sum(m.clicks)::bigint as clicks,
    sum(m.conversions)::bigint as conversions,
    sum(m.revenue_micros)::bigint as revenue_micros,
    sum(m.cost_micros)::bigint as cost_micros
from analytics.recounted_measures m
left join analytics.segment_sets s on s.segment_set_id = m.segment_set_id
left join lateral unnest(s.segments) as n (segment_name) on true
where m.campaign_id is not null
group by m.campaign_id, coalesce(n.segment_name, '');

create view analytics.recounted_campaign_user_totals as
select
    campaign_id, user_id,
    sum(impressions)::bigint as impressions,
    sum(views)::bigint as views,
    sum(clicks)::bigint as clicks,
    sum(conversions)::bigint as conversions,
    sum(revenue_micros)::bigint as revenue_micros,
    sum(cost_micros)::bigint as cost_micros,
    min(event_at) as first_event_at
from analytics.recounted_measures
where campaign_id is not null
group by campaign_id, user_id;

create view analytics.recounted_campaign_totals as
select
    campaign_id,
    count(*) as users,
    count(*) filter (where impressions > 0) as reached_users,
    count(*) filter (where impressions > 0 and conversions > 0) as converting_users,
    count(*) filter (where revenue_micros > 0) as paying_users,
    sum(impressions)::bigint as impressions,
    sum(views)::bigint as views,
    sum(clicks)::bigint as clicks,
    sum(conversions)::bigint as conversions,
    sum(revenue_micros)::bigint as revenue_micros,
    sum(cost_micros)::bigint as cost_micros,
    sum(impressions * impressions)::bigint as impressions_impressions,
    sum(impressions * views)::bigint as impressions_views,
    sum(impressions * clicks)::bigint as impressions_clicks,
    sum(views * views)::bigint as views_views,
    sum(views * conversions)::bigint as views_conversions,
    sum(clicks * clicks)::bigint as clicks_clicks,
    sum(conversions * conversions)::bigint as conversions_conversions,
    sum(impressions::numeric * revenue_micros) as impressions_revenue,
    sum(conversions::numeric * cost_micros) as conversions_cost,
    sum(revenue_micros::numeric * revenue_micros) as revenue_revenue,
    sum(revenue_micros::numeric * cost_micros) as revenue_cost,
    sum(cost_micros::numeric * cost_micros) as cost_cost
from analytics.recounted_campaign_user_totals
group by campaign_id;

create view analytics.recounted_portfolio_analytics_daily as
select
    day, currency_code,
    coalesce(sum(impressions) filter (where campaign_id is not null), 0)::bigint as impressions,
    coalesce(sum(views) filter (where campaign_id is not null), 0)::bigint as views,
    coalesce(sum(clicks) filter (where campaign_id is not null), 0)::bigint as clicks,
    coalesce(sum(conversions) filter (where campaign_id is not null), 0)::bigint as conversions,
    coalesce(sum(revenue_micros) filter (where campaign_id is not null), 0)::bigint as revenue_micros,
    sum(cost_micros)::bigint as cost_micros,
    coalesce(sum(conversions) filter (where campaign_id is null), 0)::bigint as purchases,
    coalesce(sum(revenue_micros) filter (where campaign_id is null), 0)::bigint as purchase_revenue_micros
from analytics.recounted_measures
group by day, currency_code;

grant select on
    analytics.recounted_measures,
    analytics.recounted_campaign_analytics_daily,
    analytics.recounted_campaign_trend_data,
    analytics.recounted_campaign_offer_daily,
    analytics.recounted_campaign_segment_analytics,
    analytics.recounted_campaign_user_totals,
    analytics.recounted_campaign_totals,
    analytics.recounted_portfolio_analytics_daily
    to analytics, reporting;
