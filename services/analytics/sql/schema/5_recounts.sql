-- What every rollup must be, counted again from the raw events, from what dropped ones amounted to, and from
-- imported costs: `reconcile` compares with these, and `rebuild` fills the rollups from them.

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

-- Everything by hour, kept events and dropped ones.
create view analytics.recounted_hours as
select
    campaign_id, currency_code, hour_at, day, impressions, views, clicks, conversions,
    revenue_micros, cost_micros, notification_deliveries, notification_opens, geofence_entries,
    unsubscribes
from analytics.recounted_measures
union all
select
    nullif(s.campaign_id, ''), s.currency_code, s.hour_at,
    (s.hour_at at time zone z.reporting_time_zone)::date, s.impressions, s.views, s.clicks, s.conversions,
    s.revenue_micros, s.cost_micros, s.notification_deliveries, s.notification_opens, s.geofence_entries,
    s.unsubscribes
from analytics.sealed_hours s
cross join analytics.reporting_settings z;

-- Everything by day, offer, channel and merchant, kept events and dropped ones.
create view analytics.recounted_deliveries as
select
    campaign_id, currency_code, day, offer_amount_micros, channel, merchant_id, impressions, views, clicks,
    conversions, revenue_micros, cost_micros, notification_deliveries, notification_opens, geofence_entries,
    unsubscribes
from analytics.recounted_measures
union all
select
    nullif(campaign_id, ''), currency_code, day, offer_amount_micros, channel, merchant_id, impressions,
    views, clicks, conversions, revenue_micros, cost_micros, notification_deliveries, notification_opens,
    geofence_entries, unsubscribes
from analytics.sealed_deliveries;

-- What counts in a campaign's days: its events, and the costs imported for it.
create view analytics.recounted_campaign_days as
select
    campaign_id, currency_code, day, impressions, views, clicks, conversions, revenue_micros, cost_micros
from analytics.recounted_hours
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

create view analytics.recounted_campaign_analytics_weekly as
select
    campaign_id, date_trunc('week', day::timestamp)::date as week,
    sum(impressions)::bigint as impressions,
    sum(views)::bigint as views,
    sum(clicks)::bigint as clicks,
    sum(conversions)::bigint as conversions,
    sum(revenue_micros)::bigint as revenue_micros,
    sum(cost_micros)::bigint as cost_micros
from analytics.recounted_campaign_days
group by 1, 2;

create view analytics.recounted_campaign_trend_data as
select
    campaign_id, hour_at,
    sum(impressions)::bigint as impressions,
    sum(views)::bigint as views,
    sum(clicks)::bigint as clicks,
    sum(conversions)::bigint as conversions,
    sum(revenue_micros)::bigint as revenue_micros,
    sum(cost_micros)::bigint as cost_micros
from analytics.recounted_hours
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
from analytics.recounted_deliveries
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
from (
    select campaign_id, segment_set_id, impressions, views, clicks, conversions, revenue_micros, cost_micros
    from analytics.recounted_measures
    union all
    select
        campaign_id, nullif(segment_set_id, 0), impressions, views, clicks, conversions, revenue_micros,
        cost_micros
    from analytics.sealed_segments
) m
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
    min(first_event_at) as first_event_at,
    sum(notification_deliveries)::bigint as notification_deliveries,
    sum(notification_opens)::bigint as notification_opens
from (
    select
        campaign_id, user_id, impressions, views, clicks, conversions, revenue_micros, cost_micros,
        event_at as first_event_at, notification_deliveries, notification_opens
    from analytics.recounted_measures
    union all
    select
        campaign_id, user_id, impressions, views, clicks, conversions, revenue_micros, cost_micros,
        first_event_at, notification_deliveries, notification_opens
    from analytics.sealed_users
) counted
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
        sum(geofence_entries)::bigint as geofence_entries,
        sum(unsubscribes)::bigint as unsubscribes
    from analytics.recounted_hours
    where campaign_id is not null
    group by campaign_id
) e on e.campaign_id = u.campaign_id
full join (
    select campaign_id, sum(cost_micros)::bigint as cost_micros
    from analytics.campaign_daily_costs
    group by campaign_id
) i on i.campaign_id = u.campaign_id;

-- Of what has a geofence entry, a purchase or a refund; a refund is never of 0.
create view analytics.recounted_merchant_daily as
select
    merchant_id, day, currency_code,
    sum(geofence_entries)::bigint as geofence_entries,
    sum(conversions)::bigint as purchases,
    sum(revenue_micros)::bigint as purchase_revenue_micros
from analytics.recounted_deliveries
where campaign_id is null and merchant_id <> 0
    and (geofence_entries > 0 or conversions > 0 or revenue_micros <> 0)
group by merchant_id, day, currency_code;

-- What counts in the portfolio: campaigns' measures and plain purchases apart; whatever has a cost or is a
-- notification, a geofence entry or an unsubscription, with a campaign or without.
create view analytics.recounted_portfolio_measures as
select
    day, hour_at, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros,
    0 as purchases, 0 as purchase_revenue_micros, notification_deliveries, notification_opens,
    geofence_entries, unsubscribes
from analytics.recounted_hours
where campaign_id is not null
union all
select
    day, hour_at, currency_code, 0, 0, 0, 0, 0, cost_micros, conversions, revenue_micros,
    notification_deliveries, notification_opens, geofence_entries, unsubscribes
from analytics.recounted_hours
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
    analytics.recounted_hours,
    analytics.recounted_deliveries,
    analytics.recounted_campaign_days,
    analytics.recounted_campaign_analytics_daily,
    analytics.recounted_campaign_analytics_weekly,
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
