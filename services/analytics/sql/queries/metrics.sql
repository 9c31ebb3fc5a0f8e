-- What one campaign did.

-- name: fetch_campaign_life :one
-- A campaign's currency, and its whole life with the sums over its users; all sums are null before its first
-- event.
select
    c.counted_currency_code, t.users, t.reached_users, t.converting_users, t.paying_users, t.impressions,
    t.views, t.clicks, t.conversions, t.revenue_micros, t.cost_micros, t.impressions_impressions,
    t.impressions_views, t.impressions_clicks, t.views_views, t.views_conversions, t.clicks_clicks,
    t.conversions_conversions, t.impressions_revenue, t.conversions_cost, t.revenue_revenue, t.revenue_cost,
    t.cost_cost, t.revenue_revenue_revenue, t.notification_deliveries, t.notification_opens,
    t.geofence_entries, t.unsubscribes, t.imported_cost_micros, t.deliveries_deliveries, t.deliveries_opens,
    t.opens_opens
from campaigns c
left join campaign_totals t on t.campaign_id = c.campaign_id
where c.campaign_id = $1::text;

-- name: fetch_campaign_days_bounds :one
-- A campaign's currency, and the first and last of its days.
select
    c.counted_currency_code,
    (select min(d.day) from campaign_analytics_daily d where d.campaign_id = c.campaign_id) as first_day,
    (select max(d.day) from campaign_analytics_daily d where d.campaign_id = c.campaign_id) as last_day
from campaigns c
where c.campaign_id = $1::text;

-- name: list_campaign_lives :many
-- The currency and the whole life of some campaigns; all sums are null before the first event. Unknown ones are
-- absent.
select
    c.campaign_id, c.counted_currency_code, t.users, t.reached_users, t.converting_users, t.paying_users,
    t.impressions, t.views, t.clicks, t.conversions, t.revenue_micros, t.cost_micros,
    t.impressions_impressions, t.impressions_views, t.impressions_clicks, t.views_views, t.views_conversions,
    t.clicks_clicks, t.conversions_conversions, t.impressions_revenue, t.conversions_cost, t.revenue_revenue,
    t.revenue_cost, t.cost_cost, t.revenue_revenue_revenue, t.notification_deliveries, t.notification_opens,
    t.geofence_entries, t.unsubscribes, t.imported_cost_micros, t.deliveries_deliveries, t.deliveries_opens,
    t.opens_opens
from campaigns c
left join campaign_totals t on t.campaign_id = c.campaign_id
where c.campaign_id = any ($1::text[]);

-- name: fetch_window_totals :one
-- What a campaign did on the days from $2 to $3, both included, from the rollups of days; users are not in them. And
-- the last day whose single events are no longer kept (null: all are).
select
    (select sealed_through from reporting_settings) as sealed_through,
    d.impressions, d.views, d.clicks, d.conversions, d.revenue_micros, d.cost_micros,
    s.notification_deliveries, s.notification_opens, s.geofence_entries, s.unsubscribes,
    i.imported_cost_micros
from (
    select
        coalesce(sum(impressions), 0)::bigint as impressions,
        coalesce(sum(views), 0)::bigint as views,
        coalesce(sum(clicks), 0)::bigint as clicks,
        coalesce(sum(conversions), 0)::bigint as conversions,
        coalesce(sum(revenue_micros), 0)::bigint as revenue_micros,
        coalesce(sum(cost_micros), 0)::bigint as cost_micros
    from campaign_analytics_daily
    where campaign_id = $1::text and day between $2::date and $3::date
) d
cross join (
    select
        coalesce(sum(notification_deliveries), 0)::bigint as notification_deliveries,
        coalesce(sum(notification_opens), 0)::bigint as notification_opens,
        coalesce(sum(geofence_entries), 0)::bigint as geofence_entries,
        coalesce(sum(unsubscribes), 0)::bigint as unsubscribes
    from campaign_delivery_daily
    where campaign_id = $1::text and day between $2::date and $3::date
) s
cross join (
    select coalesce(sum(cost_micros), 0)::bigint as imported_cost_micros
    from campaign_daily_costs
    where campaign_id = $1::text and day between $2::date and $3::date
) i;

-- name: fetch_range_user_moments :one
-- The sums over users of a campaign's events from $2, before $3; refunds at their originals' time. Exact: read
-- from two indexes that hold all it needs.
with chosen as (
    select
        user_id,
        (event_type = 1)::integer as impressions,
        (event_type = 2)::integer as views,
        (event_type = 3)::integer as clicks,
        (event_type = 4)::integer as conversions,
        (event_type = 8)::integer as deliveries,
        (event_type = 9)::integer as opens,
        coalesce(revenue_micros, 0) as revenue_micros,
        coalesce(cost_micros, 0) as cost_micros
    from events
    where campaign_id = $1::text
        and event_at >= $2::timestamptz and event_at < $3::timestamptz
        and event_type <> 5
    union all
    select user_id, 0, 0, 0, 0, 0, 0, -revenue_micros, coalesce(cost_micros, 0)
    from events
    where campaign_id = $1::text
        and counted_at >= $2::timestamptz and counted_at < $3::timestamptz
        and event_type = 5
),
per_user as (
    select
        sum(impressions) as impressions, sum(views) as views, sum(clicks) as clicks,
        sum(conversions) as conversions, sum(deliveries) as deliveries, sum(opens) as opens,
        sum(revenue_micros)::bigint as revenue_micros, sum(cost_micros)::bigint as cost_micros
    from chosen
    group by user_id
)
select
    count(*) as users,
    count(*) filter (where impressions > 0) as reached_users,
    count(*) filter (where impressions > 0 and conversions > 0) as converting_users,
    count(*) filter (where revenue_micros > 0) as paying_users,
    coalesce(sum(impressions * impressions), 0)::bigint as impressions_impressions,
    coalesce(sum(impressions * views), 0)::bigint as impressions_views,
    coalesce(sum(impressions * clicks), 0)::bigint as impressions_clicks,
    coalesce(sum(views * views), 0)::bigint as views_views,
    coalesce(sum(views * conversions), 0)::bigint as views_conversions,
    coalesce(sum(clicks * clicks), 0)::bigint as clicks_clicks,
    coalesce(sum(conversions * conversions), 0)::bigint as conversions_conversions,
    coalesce(sum(deliveries * deliveries), 0)::bigint as deliveries_deliveries,
    coalesce(sum(deliveries * opens), 0)::bigint as deliveries_opens,
    coalesce(sum(opens * opens), 0)::bigint as opens_opens,
    coalesce(sum(conversions::numeric * cost_micros) filter (where conversions > 0), 0) as conversions_cost,
    coalesce(sum(cost_micros::numeric * cost_micros) filter (where cost_micros <> 0), 0) as cost_cost,
    -- Most users bring no revenue: their products are not worth their while.
    coalesce(sum(impressions::numeric * revenue_micros) filter (where revenue_micros <> 0), 0)
        as impressions_revenue,
    coalesce(sum(revenue_micros::numeric * revenue_micros) filter (where revenue_micros <> 0), 0)
        as revenue_revenue,
    coalesce(sum(revenue_micros::numeric * cost_micros) filter (where revenue_micros <> 0), 0) as revenue_cost,
    coalesce(
        sum(revenue_micros::numeric * revenue_micros * revenue_micros) filter (where revenue_micros <> 0), 0
    ) as revenue_revenue_revenue
from per_user;
