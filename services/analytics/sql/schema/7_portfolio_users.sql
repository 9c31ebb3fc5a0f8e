-- Sums over the users of all campaigns together, per currency ('' over all of them, where money means nothing):
-- what the portfolio's intervals take from its users, who are in many campaigns. Counted by a job, so as of
-- counted_at. Columns as in campaign_totals.
create table analytics.portfolio_users (
    currency_code text not null,
    counted_at timestamptz not null,
    users bigint not null,
    reached_users bigint not null,
    converting_users bigint not null,
    paying_users bigint not null,
    notified_users bigint not null,
    impressions bigint not null,
    views bigint not null,
    clicks bigint not null,
    conversions bigint not null,
    revenue_micros bigint not null,
    cost_micros bigint not null,
    imported_cost_micros bigint not null,
    notification_deliveries bigint not null,
    notification_opens bigint not null,
    geofence_entries bigint not null,
    unsubscribes bigint not null,
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
    deliveries_deliveries bigint not null,
    deliveries_opens bigint not null,
    opens_opens bigint not null,
    revenue_revenue_revenue numeric not null,
    constraint portfolio_users_pkey primary key (currency_code)
);

grant select, insert, update, delete on analytics.portfolio_users to analytics;
grant select on analytics.portfolio_users to reporting;
