-- What one campaign did period by period.

-- name: list_campaign_days :many
-- A campaign's counts of the days from $2 to $3, both included.
select day as period, impressions, views, clicks, conversions, revenue_micros, cost_micros
from campaign_analytics_daily
where campaign_id = $1::text and day between $2::date and $3::date
order by day;

-- name: list_campaign_weeks :many
-- A campaign's counts of the days from $2 to $3, both included, by the Monday of their week, in no order: whole weeks
-- from Monday $4, before Monday $5, as they are kept, and what is left at either end from its days.
select week as period, impressions, views, clicks, conversions, revenue_micros, cost_micros
from campaign_analytics_weekly
where campaign_id = $1::text and week >= $4::date and week < $5::date
union all
select
    $4::date - 7, sum(impressions)::bigint, sum(views)::bigint, sum(clicks)::bigint, sum(conversions)::bigint,
    sum(revenue_micros)::bigint, sum(cost_micros)::bigint
from campaign_analytics_daily
where campaign_id = $1::text and day >= $2::date and day < $4::date and day <= $3::date
having count(*) > 0
union all
select
    $5::date, sum(impressions)::bigint, sum(views)::bigint, sum(clicks)::bigint, sum(conversions)::bigint,
    sum(revenue_micros)::bigint, sum(cost_micros)::bigint
from campaign_analytics_daily
where campaign_id = $1::text and day >= $5::date and day <= $3::date
having count(*) > 0;

-- name: list_campaign_months :many
-- A campaign's counts of the days from $2 to $3, both included, added by month.
select
    date_trunc('month', day::timestamp)::date as period,
    sum(impressions)::bigint as impressions,
    sum(views)::bigint as views,
    sum(clicks)::bigint as clicks,
    sum(conversions)::bigint as conversions,
    sum(revenue_micros)::bigint as revenue_micros,
    sum(cost_micros)::bigint as cost_micros
from campaign_analytics_daily
where campaign_id = $1::text and day between $2::date and $3::date
group by 1
order by 1;

-- name: list_campaign_hours :many
-- A campaign's counts of the hours from $2, before $3.
select hour_at, impressions, views, clicks, conversions, revenue_micros, cost_micros
from campaign_trend_data
where campaign_id = $1::text and hour_at >= $2::timestamptz and hour_at < $3::timestamptz
order by hour_at;
