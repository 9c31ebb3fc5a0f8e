-- The users of all campaigns together.

-- name: list_portfolio_users :many
-- The sums over users by currency, and over all of them ('').
select
    currency_code,
    users, reached_users, converting_users, paying_users, impressions, views, clicks, conversions,
    revenue_micros, cost_micros, imported_cost_micros, notification_deliveries, notification_opens,
    geofence_entries, unsubscribes, impressions_impressions, impressions_views, impressions_clicks,
    views_views, views_conversions, clicks_clicks, conversions_conversions, impressions_revenue,
    conversions_cost, revenue_revenue, revenue_cost, cost_cost, deliveries_deliveries, deliveries_opens,
    opens_opens, revenue_revenue_revenue
from portfolio_users;

-- name: clear_portfolio_users :exec
-- Empties portfolio_users before a new count.
delete from portfolio_users;

-- name: count_portfolio_users :exec
-- Adds up each user over all campaigns, by currency and (without money) over all of them, and the users to one
-- row. Products with money are numeric; most users bring none.
insert into portfolio_users (
    currency_code, counted_at,
    users, reached_users, converting_users, paying_users, notified_users, impressions, views, clicks,
    conversions, revenue_micros, cost_micros, imported_cost_micros, notification_deliveries,
    notification_opens, geofence_entries, unsubscribes, impressions_impressions, impressions_views,
    impressions_clicks, views_views, views_conversions, clicks_clicks, conversions_conversions,
    impressions_revenue, conversions_cost, revenue_revenue, revenue_cost, cost_cost,
    deliveries_deliveries, deliveries_opens, opens_opens, revenue_revenue_revenue
)
with of_currency as materialized (
    select
        c.counted_currency_code as currency_code, u.user_id,
        sum(u.impressions) as impressions, sum(u.views) as views, sum(u.clicks) as clicks,
        sum(u.conversions) as conversions, sum(u.revenue_micros)::bigint as revenue_micros,
        sum(u.cost_micros)::bigint as cost_micros, sum(u.notification_deliveries) as deliveries,
        sum(u.notification_opens) as opens
    from campaign_user_totals u
    join campaigns c on c.campaign_id = u.campaign_id
    where c.counted_currency_code is not null
    group by c.counted_currency_code, u.user_id
),
per_user as (
    select * from of_currency
    union all
    select
        '', user_id, sum(impressions), sum(views), sum(clicks), sum(conversions), 0, 0, sum(deliveries), sum(opens)
    from of_currency
    group by user_id
),
beside as (
    select
        c.counted_currency_code as currency_code, sum(t.imported_cost_micros)::bigint as imported_cost_micros,
        sum(t.geofence_entries)::bigint as geofence_entries, sum(t.unsubscribes)::bigint as unsubscribes
    from campaign_totals t
    join campaigns c on c.campaign_id = t.campaign_id
    group by c.counted_currency_code
    union all
    select '', 0, sum(geofence_entries)::bigint, sum(unsubscribes)::bigint
    from campaign_totals
)
select
    p.currency_code, now(),
    count(*),
    count(*) filter (where p.impressions > 0),
    count(*) filter (where p.impressions > 0 and p.conversions > 0),
    count(*) filter (where p.revenue_micros > 0),
    count(*) filter (where p.deliveries > 0),
    sum(p.impressions), sum(p.views), sum(p.clicks), sum(p.conversions), sum(p.revenue_micros),
    sum(p.cost_micros) + coalesce(min(b.imported_cost_micros), 0),
    coalesce(min(b.imported_cost_micros), 0),
    sum(p.deliveries), sum(p.opens),
    coalesce(min(b.geofence_entries), 0), coalesce(min(b.unsubscribes), 0),
    sum(p.impressions * p.impressions),
    sum(p.impressions * p.views),
    sum(p.impressions * p.clicks),
    sum(p.views * p.views),
    sum(p.views * p.conversions),
    sum(p.clicks * p.clicks),
    sum(p.conversions * p.conversions),
    coalesce(sum(p.impressions::numeric * p.revenue_micros) filter (where p.revenue_micros <> 0), 0),
    coalesce(sum(p.conversions::numeric * p.cost_micros) filter (where p.conversions > 0), 0),
    coalesce(sum(p.revenue_micros::numeric * p.revenue_micros) filter (where p.revenue_micros <> 0), 0),
    coalesce(sum(p.revenue_micros::numeric * p.cost_micros) filter (where p.revenue_micros <> 0), 0),
    coalesce(sum(p.cost_micros::numeric * p.cost_micros) filter (where p.cost_micros <> 0), 0),
    sum(p.deliveries * p.deliveries),
    sum(p.deliveries * p.opens),
    sum(p.opens * p.opens),
    coalesce(
        sum(p.revenue_micros::numeric * p.revenue_micros * p.revenue_micros)
        filter (where p.revenue_micros <> 0),
        0
    )
from per_user p
left join beside b on b.currency_code = p.currency_code
group by p.currency_code;
