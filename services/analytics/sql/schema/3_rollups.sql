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
