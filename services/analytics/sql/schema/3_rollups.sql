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
    using brin (day) with (pages_per_range = 16, autosummarize = on);

-- One row per campaign and week, by its Monday. The measures are in the key's index, as those of days are: five
-- years are 261 entries instead of 1,826.
create table analytics.campaign_analytics_weekly (
    campaign_id text not null,
    week date not null,
    impressions bigint not null,
    views bigint not null,
    clicks bigint not null,
    conversions bigint not null,
    revenue_micros bigint not null,
    cost_micros bigint not null,
    constraint campaign_analytics_weekly_pkey primary key (campaign_id, week)
        include (impressions, views, clicks, conversions, revenue_micros, cost_micros)
);

-- One row per campaign and hour of the reporting zone; months are added from the days.
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
    using brin (day) with (pages_per_range = 16, autosummarize = on);

-- For a merchant's campaigns over some days.
create index campaign_delivery_daily_merchant_idx on analytics.campaign_delivery_daily (merchant_id, day);

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
    notification_deliveries bigint not null default 0,
    notification_opens bigint not null default 0,
    constraint campaign_user_totals_pkey primary key (campaign_id, user_id)
) with (fillfactor = 80);

-- One row per campaign: its whole life, and the sums of squares and products over users that turn into
-- intervals (deliveries and opens there: of notifications; the sum of cubes tells how skewed revenue is).
-- Products with money are numeric, because micros squared leave a bigint's range. cost_micros holds
-- imported_cost_micros as well; the products do not, because an imported cost is no user's.
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
    notified_users bigint not null default 0,
    notification_deliveries bigint not null default 0,
    notification_opens bigint not null default 0,
    geofence_entries bigint not null default 0,
    unsubscribes bigint not null default 0,
    imported_cost_micros bigint not null default 0,
    deliveries_deliveries bigint not null default 0,
    deliveries_opens bigint not null default 0,
    opens_opens bigint not null default 0,
    revenue_revenue_revenue numeric not null default 0,
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
    notification_deliveries bigint not null default 0,
    notification_opens bigint not null default 0,
    geofence_entries bigint not null default 0,
    unsubscribes bigint not null default 0,
    constraint portfolio_analytics_daily_pkey primary key (day, currency_code, slot)
) with (fillfactor = 50);

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
-- of the denominator; ratios of money: 20 conversions; sums: none) and that it is defined; a query repeats it.
-- Money is ranked within a currency. roi is roas - 1 and has its order.
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
    (currency_code, revenue_micros_per_impression desc, campaign_id) where conversions >= 20;
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
    sum(purchase_revenue_micros)::bigint as purchase_revenue_micros,
    sum(notification_deliveries)::bigint as notification_deliveries,
    sum(notification_opens)::bigint as notification_opens,
    sum(geofence_entries)::bigint as geofence_entries,
    sum(unsubscribes)::bigint as unsubscribes
from analytics.portfolio_analytics_daily
group by day, currency_code;

grant select, insert, update, delete on
    analytics.campaign_analytics_daily, analytics.campaign_trend_data, analytics.campaign_segment_analytics,
    analytics.campaign_user_totals, analytics.campaign_totals, analytics.portfolio_analytics_daily
    to analytics;
grant select on
    analytics.campaign_analytics_daily, analytics.campaign_trend_data, analytics.campaign_segment_analytics,
    analytics.campaign_user_totals, analytics.campaign_totals, analytics.portfolio_analytics_daily,
    analytics.campaign_performance, analytics.portfolio_performance_daily
    to reporting;
grant select on analytics.campaign_performance, analytics.portfolio_performance_daily to analytics;

grant select, insert, update, delete on
    analytics.campaign_delivery_daily, analytics.merchant_daily, analytics.campaign_daily_costs,
    analytics.portfolio_analytics_hourly, analytics.rolling_window, analytics.campaign_last_30_days,
    analytics.portfolio_last_30_days, analytics.campaign_analytics_weekly
    to analytics;
grant select on analytics.campaign_analytics_weekly to reporting;
grant select on
    analytics.campaign_delivery_daily, analytics.merchant_daily, analytics.campaign_daily_costs,
    analytics.portfolio_analytics_hourly, analytics.rolling_window, analytics.campaign_last_30_days,
    analytics.portfolio_last_30_days
    to reporting;
