-- migrate:up

-- Deliveries by channel and merchant, what happens at merchants, notifications, imported costs, hours of the
-- portfolio, and the last 30 days. Existing databases are counted again at the end.

drop view analytics.recounted_portfolio_analytics_daily;
drop view analytics.recounted_campaign_totals;
drop view analytics.recounted_campaign_user_totals;
drop view analytics.recounted_campaign_segment_analytics;
drop view analytics.recounted_campaign_offer_daily;
drop view analytics.recounted_campaign_trend_data;
drop view analytics.recounted_campaign_analytics_daily;
drop view analytics.recounted_measures;

-- One row per campaign, day, offer as sent, channel and merchant: what integrations ask for by range. -1 holds
-- events whose offer is unknown, channel 0 and merchant 0 those that have none.
create table analytics.campaign_delivery_daily (
    campaign_id text not null,
    day date not null,
    offer_amount_micros bigint not null,
    channel smallint not null,
    merchant_id integer not null,
    impressions bigint not null,
    views bigint not null,
    clicks bigint not null,
    conversions bigint not null,
    revenue_micros bigint not null,
    cost_micros bigint not null,
    notification_deliveries bigint not null,
    notification_opens bigint not null,
    geofence_entries bigint not null,
    unsubscribes bigint not null,
    constraint campaign_delivery_daily_pkey
        primary key (campaign_id, day, offer_amount_micros, channel, merchant_id)
);

-- For neighbours that read all campaigns of the last days.
create index campaign_delivery_daily_day_idx on analytics.campaign_delivery_daily
    using brin (day) with (pages_per_range = 16);

-- For a merchant's campaigns over some days.
create index campaign_delivery_daily_merchant_idx on analytics.campaign_delivery_daily (merchant_id, day);

-- What happened at a merchant outside campaigns; a refund takes from its original's day.
create table analytics.merchant_daily (
    merchant_id integer not null,
    day date not null,
    currency_code text not null,
    geofence_entries bigint not null,
    purchases bigint not null,
    purchase_revenue_micros bigint not null,
    constraint merchant_daily_pkey primary key (merchant_id, day, currency_code)
);

-- What was imported as the cost of a campaign's day and channel (0: of no channel), beside what events carry. A
-- cost taken back stays as 0, so that the rows it counts in stay as well.
create table analytics.campaign_daily_costs (
    campaign_id text not null,
    day date not null,
    channel smallint not null,
    currency_code text not null,
    cost_micros bigint not null,
    imported_at timestamptz not null default now(),
    constraint campaign_daily_costs_pkey primary key (campaign_id, day, channel),
    constraint campaign_daily_costs_not_negative check (cost_micros >= 0)
);

-- One hour of everything, as portfolio_analytics_daily but for imported costs, which have no hour.
create table analytics.portfolio_analytics_hourly (
    hour_at timestamptz not null,
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
    notification_deliveries bigint not null,
    notification_opens bigint not null,
    geofence_entries bigint not null,
    unsubscribes bigint not null,
    constraint portfolio_analytics_hourly_pkey primary key (hour_at, currency_code, slot)
) with (fillfactor = 50);

-- The last of the 30 days that the `…_last_30_days` tables hold; one row, none before the first roll. It moves
-- only under the exclusive lock of the catalog, so that a batch sees one window from its beginning to its end.
create table analytics.rolling_window (
    singleton boolean not null default true,
    end_day date not null,
    constraint rolling_window_pkey primary key (singleton),
    constraint rolling_window_one_row check (singleton)
);

-- The sums of each campaign with an event or a cost in the window, and what campaigns are ranked by. Whoever
-- reads it compares rolling_window.end_day with the last day wanted, and otherwise reads the daily rows.
create table analytics.campaign_last_30_days (
    campaign_id text not null,
    currency_code text not null,
    impressions bigint not null,
    views bigint not null,
    clicks bigint not null,
    conversions bigint not null,
    revenue_micros bigint not null,
    cost_micros bigint not null,
    profit_micros bigint not null generated always as (revenue_micros - cost_micros) stored,
    view_rate double precision generated always as (
        views::double precision / nullif(impressions, 0)
    ) stored,
    ctr double precision generated always as (clicks::double precision / nullif(impressions, 0)) stored,
    conversion_rate double precision generated always as (
        conversions::double precision / nullif(views, 0)
    ) stored,
    revenue_micros_per_impression double precision generated always as (
        revenue_micros::double precision / nullif(impressions, 0)
    ) stored,
    cost_micros_per_conversion double precision generated always as (
        cost_micros::double precision / nullif(conversions, 0)
    ) stored,
    roas double precision generated always as (
        revenue_micros::double precision / nullif(cost_micros, 0)
    ) stored,
    roi double precision generated always as (
        (revenue_micros - cost_micros)::double precision / nullif(cost_micros, 0)
    ) stored,
    profit_margin double precision generated always as (
        (revenue_micros - cost_micros)::double precision / nullif(revenue_micros, 0)
    ) stored,
    -- ROAS in billionths, exact enough to be added and taken away for ever without drift.
    roas_nanos numeric generated always as (
        round(revenue_micros::numeric * 1000000000 / nullif(cost_micros, 0))
    ) stored,
    constraint campaign_last_30_days_pkey primary key (campaign_id)
) with (fillfactor = 80);

-- For the top campaigns by each metric, ties by campaign. A predicate is the metric's minimum volume (rates: 100
-- of the denominator; money per conversion and per cost: 20 conversions; sums: none) and that it is defined; a
-- query repeats it. Money is ranked within a currency. roi is roas - 1 and has its order.
create index campaign_last_30_days_impressions_idx on analytics.campaign_last_30_days
    (impressions desc, campaign_id);
create index campaign_last_30_days_views_idx on analytics.campaign_last_30_days (views desc, campaign_id);
create index campaign_last_30_days_clicks_idx on analytics.campaign_last_30_days (clicks desc, campaign_id);
create index campaign_last_30_days_conversions_idx on analytics.campaign_last_30_days
    (conversions desc, campaign_id);
create index campaign_last_30_days_revenue_idx on analytics.campaign_last_30_days
    (currency_code, revenue_micros desc, campaign_id);
create index campaign_last_30_days_cost_idx on analytics.campaign_last_30_days
    (currency_code, cost_micros desc, campaign_id);
create index campaign_last_30_days_profit_idx on analytics.campaign_last_30_days
    (currency_code, profit_micros desc, campaign_id);
create index campaign_last_30_days_view_rate_idx on analytics.campaign_last_30_days
    (view_rate desc, campaign_id) where impressions >= 100;
create index campaign_last_30_days_ctr_idx on analytics.campaign_last_30_days
    (ctr desc, campaign_id) where impressions >= 100;
create index campaign_last_30_days_conversion_rate_idx on analytics.campaign_last_30_days
    (conversion_rate desc, campaign_id) where views >= 100;
create index campaign_last_30_days_revenue_per_impression_idx on analytics.campaign_last_30_days
    (currency_code, revenue_micros_per_impression desc, campaign_id) where impressions >= 100;
create index campaign_last_30_days_cost_per_conversion_idx on analytics.campaign_last_30_days
    (currency_code, cost_micros_per_conversion, campaign_id) where conversions >= 20;
create index campaign_last_30_days_roas_idx on analytics.campaign_last_30_days
    (roas desc, campaign_id) where conversions >= 20 and cost_micros > 0;
create index campaign_last_30_days_profit_margin_idx on analytics.campaign_last_30_days
    (profit_margin desc, campaign_id) where conversions >= 20 and revenue_micros > 0;

-- The whole portfolio over the window, in slots that are added on read: how many campaigns have a row in
-- campaign_last_30_days, how many of them have cost, and the sum of their ROAS.
create table analytics.portfolio_last_30_days (
    currency_code text not null,
    slot smallint not null,
    campaigns bigint not null,
    campaigns_with_cost bigint not null,
    roas_nanos numeric not null,
    impressions bigint not null,
    views bigint not null,
    clicks bigint not null,
    conversions bigint not null,
    revenue_micros bigint not null,
    cost_micros bigint not null,
    purchases bigint not null,
    purchase_revenue_micros bigint not null,
    notification_deliveries bigint not null,
    notification_opens bigint not null,
    geofence_entries bigint not null,
    unsubscribes bigint not null,
    constraint portfolio_last_30_days_pkey primary key (currency_code, slot)
) with (fillfactor = 50);

alter table analytics.campaign_user_totals
    add column notification_deliveries bigint not null default 0,
    add column notification_opens bigint not null default 0;

alter table analytics.campaign_totals
    add column notified_users bigint not null default 0,
    add column notification_deliveries bigint not null default 0,
    add column notification_opens bigint not null default 0,
    add column geofence_entries bigint not null default 0,
    add column unsubscribes bigint not null default 0,
    add column imported_cost_micros bigint not null default 0,
    add column deliveries_deliveries bigint not null default 0,
    add column deliveries_opens bigint not null default 0,
    add column opens_opens bigint not null default 0;

alter table analytics.portfolio_analytics_daily
    add column notification_deliveries bigint not null default 0,
    add column notification_opens bigint not null default 0,
    add column geofence_entries bigint not null default 0,
    add column unsubscribes bigint not null default 0;

-- A day of the portfolio per currency in one row, its slots added.
create or replace view analytics.portfolio_performance_daily as
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
    sum(purchase_revenue_micros)::bigint as purchase_revenue_micros,
    sum(notification_deliveries)::bigint as notification_deliveries,
    sum(notification_opens)::bigint as notification_opens,
    sum(geofence_entries)::bigint as geofence_entries,
    sum(unsubscribes)::bigint as unsubscribes
from analytics.portfolio_analytics_daily
group by day, currency_code;

grant select, insert, update, delete on
    analytics.campaign_delivery_daily, analytics.merchant_daily, analytics.campaign_daily_costs,
    analytics.portfolio_analytics_hourly, analytics.rolling_window, analytics.campaign_last_30_days,
    analytics.portfolio_last_30_days
    to analytics;
grant select on
    analytics.campaign_delivery_daily, analytics.merchant_daily, analytics.campaign_daily_costs,
    analytics.portfolio_analytics_hourly, analytics.rolling_window, analytics.campaign_last_30_days,
    analytics.portfolio_last_30_days
    to reporting;

-- By the offer as sent (null where unknown) and the day of the reporting zone; a refund subtracts from its
-- original's day and offer.
create or replace view analytics_v1.campaign_offer_daily as
select
    campaign_id, day, nullif(offer_amount_micros, -1) as offer_amount_micros,
    sum(impressions)::bigint as impressions,
    sum(views)::bigint as views,
    sum(clicks)::bigint as clicks,
    sum(conversions)::bigint as conversions,
    sum(revenue_micros)::bigint as revenue_micros,
    sum(cost_micros)::bigint as cost_micros
from analytics.campaign_delivery_daily
group by campaign_id, day, offer_amount_micros;

drop table analytics.campaign_offer_daily;

create view analytics.recounted_measures as
select
    e.campaign_id, e.user_id, e.segment_set_id, e.currency_code, e.event_at,
    coalesce(e.offer_amount_micros, -1) as offer_amount_micros,
    coalesce(e.channel, 0::smallint) as channel,
    coalesce(e.merchant_id, 0) as merchant_id,
    date_trunc('hour', e.counted_at, z.reporting_time_zone) as hour_at,
    (e.counted_at at time zone z.reporting_time_zone)::date as day,
    (e.event_type = 1)::integer as impressions,
    (e.event_type = 2)::integer as views,
    (e.event_type = 3)::integer as clicks,
    (e.event_type = 4)::integer as conversions,
    coalesce(case when e.event_type = 5 then -e.revenue_micros else e.revenue_micros end, 0)
        as revenue_micros,
    coalesce(e.cost_micros, 0) as cost_micros,
    (e.event_type = 8)::integer as notification_deliveries,
    (e.event_type = 9)::integer as notification_opens,
    (e.event_type = 7)::integer as geofence_entries,
    (e.event_type = 6)::integer as unsubscribes,
    e.event_type
from analytics.events e
cross join analytics.reporting_settings z;

-- What counts in a campaign's days: its events, and the costs imported for it.
create view analytics.recounted_campaign_days as
select
    campaign_id, currency_code, day, impressions, views, clicks, conversions, revenue_micros, cost_micros
from analytics.recounted_measures
where campaign_id is not null
union all
select campaign_id, currency_code, day, 0, 0, 0, 0, 0, cost_micros
from analytics.campaign_daily_costs;

create view analytics.recounted_campaign_analytics_daily as
select
    campaign_id, day,
    sum(impressions)::bigint as impressions,
    sum(views)::bigint as views,
    sum(clicks)::bigint as clicks,
    sum(conversions)::bigint as conversions,
    sum(revenue_micros)::bigint as revenue_micros,
    sum(cost_micros)::bigint as cost_micros
from analytics.recounted_campaign_days
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

create view analytics.recounted_campaign_delivery_daily as
select
    campaign_id, day, offer_amount_micros, channel, merchant_id,
    sum(impressions)::bigint as impressions,
    sum(views)::bigint as views,
    sum(clicks)::bigint as clicks,
    sum(conversions)::bigint as conversions,
    sum(revenue_micros)::bigint as revenue_micros,
    sum(cost_micros)::bigint as cost_micros,
    sum(notification_deliveries)::bigint as notification_deliveries,
    sum(notification_opens)::bigint as notification_opens,
    sum(geofence_entries)::bigint as geofence_entries,
    sum(unsubscribes)::bigint as unsubscribes
from analytics.recounted_measures
where campaign_id is not null
group by campaign_id, day, offer_amount_micros, channel, merchant_id;

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
    min(event_at) as first_event_at,
    sum(notification_deliveries)::bigint as notification_deliveries,
    sum(notification_opens)::bigint as notification_opens
from analytics.recounted_measures
where campaign_id is not null
group by campaign_id, user_id;

-- Of users where they are the unit, of events where nobody is, and of imported costs, which have neither.
create view analytics.recounted_campaign_totals as
select
    coalesce(u.campaign_id, i.campaign_id) as campaign_id,
    coalesce(u.users, 0) as users,
    coalesce(u.reached_users, 0) as reached_users,
    coalesce(u.converting_users, 0) as converting_users,
    coalesce(u.paying_users, 0) as paying_users,
    coalesce(u.notified_users, 0) as notified_users,
    coalesce(u.impressions, 0) as impressions,
    coalesce(u.views, 0) as views,
    coalesce(u.clicks, 0) as clicks,
    coalesce(u.conversions, 0) as conversions,
    coalesce(u.revenue_micros, 0) as revenue_micros,
    coalesce(u.cost_micros, 0) + coalesce(i.cost_micros, 0) as cost_micros,
    coalesce(i.cost_micros, 0) as imported_cost_micros,
    coalesce(u.notification_deliveries, 0) as notification_deliveries,
    coalesce(u.notification_opens, 0) as notification_opens,
    coalesce(e.geofence_entries, 0) as geofence_entries,
    coalesce(e.unsubscribes, 0) as unsubscribes,
    coalesce(u.impressions_impressions, 0) as impressions_impressions,
    coalesce(u.impressions_views, 0) as impressions_views,
    coalesce(u.impressions_clicks, 0) as impressions_clicks,
    coalesce(u.views_views, 0) as views_views,
    coalesce(u.views_conversions, 0) as views_conversions,
    coalesce(u.clicks_clicks, 0) as clicks_clicks,
    coalesce(u.conversions_conversions, 0) as conversions_conversions,
    coalesce(u.impressions_revenue, 0) as impressions_revenue,
    coalesce(u.conversions_cost, 0) as conversions_cost,
    coalesce(u.revenue_revenue, 0) as revenue_revenue,
    coalesce(u.revenue_cost, 0) as revenue_cost,
    coalesce(u.cost_cost, 0) as cost_cost,
    coalesce(u.deliveries_deliveries, 0) as deliveries_deliveries,
    coalesce(u.deliveries_opens, 0) as deliveries_opens,
    coalesce(u.opens_opens, 0) as opens_opens
from (
    select
        campaign_id,
        count(*) as users,
        count(*) filter (where impressions > 0) as reached_users,
        count(*) filter (where impressions > 0 and conversions > 0) as converting_users,
        count(*) filter (where revenue_micros > 0) as paying_users,
        count(*) filter (where notification_deliveries > 0) as notified_users,
        sum(impressions)::bigint as impressions,
        sum(views)::bigint as views,
        sum(clicks)::bigint as clicks,
        sum(conversions)::bigint as conversions,
        sum(revenue_micros)::bigint as revenue_micros,
        sum(cost_micros)::bigint as cost_micros,
        sum(notification_deliveries)::bigint as notification_deliveries,
        sum(notification_opens)::bigint as notification_opens,
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
        sum(cost_micros::numeric * cost_micros) as cost_cost,
        sum(notification_deliveries * notification_deliveries)::bigint as deliveries_deliveries,
        sum(notification_deliveries * notification_opens)::bigint as deliveries_opens,
        sum(notification_opens * notification_opens)::bigint as opens_opens
    from analytics.recounted_campaign_user_totals
    group by campaign_id
) u
join (
    select
        campaign_id,
        sum(geofence_entries) as geofence_entries,
        sum(unsubscribes) as unsubscribes
    from analytics.recounted_measures
    where campaign_id is not null
    group by campaign_id
) e on e.campaign_id = u.campaign_id
full join (
    select campaign_id, sum(cost_micros)::bigint as cost_micros
    from analytics.campaign_daily_costs
    group by campaign_id
) i on i.campaign_id = u.campaign_id;

create view analytics.recounted_merchant_daily as
select
    merchant_id, day, currency_code,
    sum(geofence_entries)::bigint as geofence_entries,
    sum(conversions)::bigint as purchases,
    sum(revenue_micros)::bigint as purchase_revenue_micros
from analytics.recounted_measures
where campaign_id is null and merchant_id <> 0 and event_type in (4, 5, 7)
group by merchant_id, day, currency_code;

-- What counts in the portfolio: campaigns' measures and plain purchases apart; whatever has a cost or is a
-- notification, a geofence entry or an unsubscription, with a campaign or without.
create view analytics.recounted_portfolio_measures as
select
    day, hour_at, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros,
    0 as purchases, 0 as purchase_revenue_micros, notification_deliveries, notification_opens,
    geofence_entries, unsubscribes
from analytics.recounted_measures
where campaign_id is not null
union all
select
    day, hour_at, currency_code, 0, 0, 0, 0, 0, cost_micros, conversions, revenue_micros,
    notification_deliveries, notification_opens, geofence_entries, unsubscribes
from analytics.recounted_measures
where campaign_id is null;

create view analytics.recounted_portfolio_analytics_hourly as
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
from analytics.recounted_portfolio_measures
group by hour_at, currency_code;

create view analytics.recounted_portfolio_analytics_daily as
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
from (
    select
        day, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros, purchases,
        purchase_revenue_micros, notification_deliveries, notification_opens, geofence_entries, unsubscribes
    from analytics.recounted_portfolio_measures
    union all
    select day, currency_code, 0, 0, 0, 0, 0, cost_micros, 0, 0, 0, 0, 0, 0
    from analytics.campaign_daily_costs
) counted
group by day, currency_code;

create view analytics.recounted_campaign_last_30_days as
select
    d.campaign_id,
    min(d.currency_code) as currency_code,
    sum(d.impressions)::bigint as impressions,
    sum(d.views)::bigint as views,
    sum(d.clicks)::bigint as clicks,
    sum(d.conversions)::bigint as conversions,
    sum(d.revenue_micros)::bigint as revenue_micros,
    sum(d.cost_micros)::bigint as cost_micros
from analytics.recounted_campaign_days d
join analytics.rolling_window w on d.day between w.end_day - 29 and w.end_day
group by d.campaign_id;

create view analytics.recounted_portfolio_last_30_days as
select
    p.currency_code,
    coalesce(c.campaigns, 0) as campaigns,
    coalesce(c.campaigns_with_cost, 0) as campaigns_with_cost,
    coalesce(c.roas_nanos, 0) as roas_nanos,
    p.impressions, p.views, p.clicks, p.conversions, p.revenue_micros, p.cost_micros, p.purchases,
    p.purchase_revenue_micros, p.notification_deliveries, p.notification_opens, p.geofence_entries,
    p.unsubscribes
from (
    select
        d.currency_code,
        sum(d.impressions)::bigint as impressions,
        sum(d.views)::bigint as views,
        sum(d.clicks)::bigint as clicks,
        sum(d.conversions)::bigint as conversions,
        sum(d.revenue_micros)::bigint as revenue_micros,
        sum(d.cost_micros)::bigint as cost_micros,
        sum(d.purchases)::bigint as purchases,
        sum(d.purchase_revenue_micros)::bigint as purchase_revenue_micros,
        sum(d.notification_deliveries)::bigint as notification_deliveries,
        sum(d.notification_opens)::bigint as notification_opens,
        sum(d.geofence_entries)::bigint as geofence_entries,
        sum(d.unsubscribes)::bigint as unsubscribes
    from analytics.recounted_portfolio_analytics_daily d
    join analytics.rolling_window w on d.day between w.end_day - 29 and w.end_day
    group by d.currency_code
) p
left join (
    select
        currency_code,
        count(*) as campaigns,
        count(*) filter (where cost_micros > 0) as campaigns_with_cost,
        sum(round(revenue_micros::numeric * 1000000000 / nullif(cost_micros, 0))) as roas_nanos
    from analytics.recounted_campaign_last_30_days
    group by currency_code
) c on c.currency_code = p.currency_code;

grant select on
    analytics.recounted_measures,
    analytics.recounted_campaign_days,
    analytics.recounted_campaign_analytics_daily,
    analytics.recounted_campaign_trend_data,
    analytics.recounted_campaign_delivery_daily,
    analytics.recounted_campaign_segment_analytics,
    analytics.recounted_campaign_user_totals,
    analytics.recounted_campaign_totals,
    analytics.recounted_merchant_daily,
    analytics.recounted_portfolio_measures,
    analytics.recounted_portfolio_analytics_hourly,
    analytics.recounted_portfolio_analytics_daily,
    analytics.recounted_campaign_last_30_days,
    analytics.recounted_portfolio_last_30_days
    to analytics, reporting;

-- Batches wait; what the rows before lack is in the events.
select pg_advisory_xact_lock(7202, 1);

insert into analytics.campaign_delivery_daily (
    campaign_id, day, offer_amount_micros, channel, merchant_id, impressions, views, clicks,
    conversions, revenue_micros, cost_micros, notification_deliveries, notification_opens,
    geofence_entries, unsubscribes
)
select
    campaign_id, day, offer_amount_micros, channel, merchant_id, impressions, views, clicks,
    conversions, revenue_micros, cost_micros, notification_deliveries, notification_opens,
    geofence_entries, unsubscribes
from analytics.recounted_campaign_delivery_daily;

insert into analytics.merchant_daily (
    merchant_id, day, currency_code, geofence_entries, purchases, purchase_revenue_micros
)
select
    merchant_id, day, currency_code, geofence_entries, purchases, purchase_revenue_micros
from analytics.recounted_merchant_daily;

insert into analytics.portfolio_analytics_hourly (
    hour_at, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros,
    purchases, purchase_revenue_micros, notification_deliveries, notification_opens,
    geofence_entries, unsubscribes, slot
)
select
    hour_at, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros,
    purchases, purchase_revenue_micros, notification_deliveries, notification_opens,
    geofence_entries, unsubscribes, 0
from analytics.recounted_portfolio_analytics_hourly;

delete from analytics.portfolio_analytics_daily;
insert into analytics.portfolio_analytics_daily (
    day, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros,
    purchases, purchase_revenue_micros, notification_deliveries, notification_opens,
    geofence_entries, unsubscribes, slot
)
select
    day, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros,
    purchases, purchase_revenue_micros, notification_deliveries, notification_opens,
    geofence_entries, unsubscribes, 0
from analytics.recounted_portfolio_analytics_daily;

update analytics.campaign_user_totals t
set notification_deliveries = r.notification_deliveries, notification_opens = r.notification_opens
from analytics.recounted_campaign_user_totals r
where r.campaign_id = t.campaign_id and r.user_id = t.user_id
    and (r.notification_deliveries > 0 or r.notification_opens > 0);

update analytics.campaign_totals t
set
    notified_users = r.notified_users,
    notification_deliveries = r.notification_deliveries,
    notification_opens = r.notification_opens,
    geofence_entries = r.geofence_entries,
    unsubscribes = r.unsubscribes,
    deliveries_deliveries = r.deliveries_deliveries,
    deliveries_opens = r.deliveries_opens,
    opens_opens = r.opens_opens
from analytics.recounted_campaign_totals r
where r.campaign_id = t.campaign_id;

-- migrate:down
drop view analytics.recounted_portfolio_last_30_days;
drop view analytics.recounted_campaign_last_30_days;
drop view analytics.recounted_portfolio_analytics_daily;
drop view analytics.recounted_portfolio_analytics_hourly;
drop view analytics.recounted_portfolio_measures;
drop view analytics.recounted_merchant_daily;
drop view analytics.recounted_campaign_totals;
drop view analytics.recounted_campaign_user_totals;
drop view analytics.recounted_campaign_segment_analytics;
drop view analytics.recounted_campaign_delivery_daily;
drop view analytics.recounted_campaign_trend_data;
drop view analytics.recounted_campaign_analytics_daily;
drop view analytics.recounted_campaign_days;
drop view analytics.recounted_measures;

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

grant select, insert, update, delete on analytics.campaign_offer_daily to analytics;
grant select on analytics.campaign_offer_daily to reporting;

insert into analytics.campaign_offer_daily (
    campaign_id, day, offer_amount_micros, impressions, views, clicks, conversions, revenue_micros, cost_micros
)
select
    campaign_id, day, offer_amount_micros,
    sum(impressions)::bigint as impressions,
    sum(views)::bigint as views,
    sum(clicks)::bigint as clicks,
    sum(conversions)::bigint as conversions,
    sum(revenue_micros)::bigint as revenue_micros,
    sum(cost_micros)::bigint as cost_micros
from analytics.campaign_delivery_daily
group by campaign_id, day, offer_amount_micros;

-- By the offer as sent (null where unknown) and the day of the reporting zone; a refund subtracts from its
-- original's day and offer.
create or replace view analytics_v1.campaign_offer_daily as
select
    campaign_id, day, nullif(offer_amount_micros, -1) as offer_amount_micros, impressions, views, clicks,
    conversions, revenue_micros, cost_micros
from analytics.campaign_offer_daily;

drop view analytics.portfolio_performance_daily;
alter table analytics.portfolio_analytics_daily
    drop column notification_deliveries,
    drop column notification_opens,
    drop column geofence_entries,
    drop column unsubscribes;

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

grant select on analytics.portfolio_performance_daily to analytics, reporting;

alter table analytics.campaign_totals
    drop column notified_users,
    drop column notification_deliveries,
    drop column notification_opens,
    drop column geofence_entries,
    drop column unsubscribes,
    drop column imported_cost_micros,
    drop column deliveries_deliveries,
    drop column deliveries_opens,
    drop column opens_opens;

alter table analytics.campaign_user_totals
    drop column notification_deliveries,
    drop column notification_opens;

drop table analytics.portfolio_last_30_days;
drop table analytics.campaign_last_30_days;
drop table analytics.rolling_window;
drop table analytics.portfolio_analytics_hourly;
drop table analytics.campaign_daily_costs;
drop table analytics.merchant_daily;
drop table analytics.campaign_delivery_daily;

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
