-- One campaign by delivery channel.

-- name: list_campaign_channels :many
-- What a campaign did by channel (0: none is known) on the days from $2 to $3, both included; null: to the end of its
-- life. Costs hold those imported for the channel.
select
    channel,
    sum(impressions)::bigint as impressions,
    sum(views)::bigint as views,
    sum(clicks)::bigint as clicks,
    sum(conversions)::bigint as conversions,
    sum(revenue_micros)::bigint as revenue_micros,
    sum(cost_micros)::bigint as cost_micros,
    sum(imported_cost_micros)::bigint as imported_cost_micros,
    sum(notification_deliveries)::bigint as notification_deliveries,
    sum(notification_opens)::bigint as notification_opens,
    sum(geofence_entries)::bigint as geofence_entries,
    sum(unsubscribes)::bigint as unsubscribes
from (
    select
        channel, day, impressions, views, clicks, conversions, revenue_micros, cost_micros,
        0 as imported_cost_micros, notification_deliveries, notification_opens, geofence_entries, unsubscribes
    from campaign_delivery_daily
    where campaign_id = $1::text
    union all
    select channel, day, 0, 0, 0, 0, 0, cost_micros, cost_micros, 0, 0, 0, 0
    from campaign_daily_costs
    where campaign_id = $1::text and cost_micros > 0
) counted
where day >= coalesce($2::date, '-infinity') and day <= coalesce($3::date, 'infinity')
group by channel
order by channel;

-- name: list_channel_user_moments :many
-- The sums over users of each channel (0: none is known) of a campaign's events from $2, before $3; refunds at their
-- originals' time. As fetch_range_user_moments by channel, which its indexes do not hold: each event is fetched.
with chosen as (
    select
        user_id,
        coalesce(channel, 0::smallint) as channel,
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
    select user_id, coalesce(channel, 0::smallint), 0, 0, 0, 0, 0, 0, -revenue_micros, coalesce(cost_micros, 0)
    from events
    where campaign_id = $1::text
        and counted_at >= $2::timestamptz and counted_at < $3::timestamptz
        and event_type = 5
),
per_user as (
    select
        channel, sum(impressions) as impressions, sum(views) as views, sum(clicks) as clicks,
        sum(conversions) as conversions, sum(deliveries) as deliveries, sum(opens) as opens,
        sum(revenue_micros)::bigint as revenue_micros, sum(cost_micros)::bigint as cost_micros
    from chosen
    group by channel, user_id
)
select
    channel,
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
from per_user
group by channel;
