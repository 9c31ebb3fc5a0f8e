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
