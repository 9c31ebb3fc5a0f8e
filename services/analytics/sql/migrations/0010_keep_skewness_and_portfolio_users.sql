-- migrate:up

-- How skewed a campaign's revenue is over its users: the sum of cubes.
alter table analytics.campaign_totals
    add column revenue_revenue_revenue numeric not null default 0;

update analytics.campaign_totals t
set revenue_revenue_revenue = u.cubes
from (
    select campaign_id, sum(revenue_micros::numeric * revenue_micros * revenue_micros) as cubes
    from analytics.campaign_user_totals
    group by campaign_id
) u
where u.campaign_id = t.campaign_id;

create or replace view analytics.recounted_campaign_totals as
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
    coalesce(u.opens_opens, 0) as opens_opens,
    coalesce(u.revenue_revenue_revenue, 0) as revenue_revenue_revenue
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
        sum(notification_opens * notification_opens)::bigint as opens_opens,
        sum(revenue_micros::numeric * revenue_micros * revenue_micros) as revenue_revenue_revenue
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

-- migrate:down
drop table analytics.portfolio_users;

drop view analytics.recounted_campaign_totals;
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

grant select on analytics.recounted_campaign_totals to analytics, reporting;

alter table analytics.campaign_totals
    drop column revenue_revenue_revenue;
