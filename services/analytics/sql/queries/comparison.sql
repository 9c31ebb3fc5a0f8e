-- Campaigns side by side.

-- name: list_shared_user_sums :many
-- For each of the campaigns $2, the users it shares with campaign $1: sums and products of what they did in it (1)
-- and in $1 (0). Campaigns that share nobody are absent. Products with money are numeric.
select
    o.campaign_id,
    count(*) as users,
    sum(o.impressions)::bigint as impressions_1,
    sum(o.views)::bigint as views_1,
    sum(o.clicks)::bigint as clicks_1,
    sum(o.conversions)::bigint as conversions_1,
    sum(o.revenue_micros)::bigint as revenue_1,
    sum(o.cost_micros)::bigint as cost_1,
    sum((o.impressions > 0)::integer)::bigint as reached_1,
    sum((o.impressions > 0 and o.conversions > 0)::integer)::bigint as converting_1,
    sum(b.impressions)::bigint as impressions_0,
    sum(b.views)::bigint as views_0,
    sum(b.clicks)::bigint as clicks_0,
    sum(b.conversions)::bigint as conversions_0,
    sum(b.revenue_micros)::bigint as revenue_0,
    sum(b.cost_micros)::bigint as cost_0,
    sum((b.impressions > 0)::integer)::bigint as reached_0,
    sum((b.impressions > 0 and b.conversions > 0)::integer)::bigint as converting_0,
    sum(o.impressions * b.impressions)::bigint as impressions_impressions,
    sum(o.impressions * b.views)::bigint as impressions_views,
    sum(o.views * b.impressions)::bigint as views_impressions,
    sum(o.views * b.views)::bigint as views_views,
    sum(o.impressions * b.clicks)::bigint as impressions_clicks,
    sum(o.clicks * b.impressions)::bigint as clicks_impressions,
    sum(o.clicks * b.clicks)::bigint as clicks_clicks,
    sum(o.views * b.conversions)::bigint as views_conversions,
    sum(o.conversions * b.views)::bigint as conversions_views,
    sum(o.conversions * b.conversions)::bigint as conversions_conversions,
    count(*) filter (where o.impressions > 0 and b.impressions > 0) as reached_reached,
    count(*) filter (where o.impressions > 0 and b.impressions > 0 and b.conversions > 0) as reached_converting,
    count(*) filter (where o.impressions > 0 and b.impressions > 0 and o.conversions > 0) as converting_reached,
    count(*) filter (
        where o.impressions > 0 and b.impressions > 0 and o.conversions > 0 and b.conversions > 0
    ) as converting_converting,
    sum(o.impressions::numeric * b.revenue_micros) as impressions_revenue,
    sum(o.revenue_micros::numeric * b.impressions) as revenue_impressions,
    sum(o.revenue_micros::numeric * b.revenue_micros) as revenue_revenue,
    sum(o.revenue_micros::numeric * b.cost_micros) as revenue_cost,
    sum(o.cost_micros::numeric * b.revenue_micros) as cost_revenue,
    sum(o.cost_micros::numeric * b.cost_micros) as cost_cost
from campaign_user_totals b
join campaign_user_totals o on o.user_id = b.user_id
where b.campaign_id = $1::text and o.campaign_id = any ($2::text[])
group by o.campaign_id;

-- name: list_compared_segments :many
-- What some campaigns did by segment as stamped.
select campaign_id, segment_name, views, conversions
from campaign_segment_analytics
where campaign_id = any ($1::text[])
order by campaign_id, segment_name;
