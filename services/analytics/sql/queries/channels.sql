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
