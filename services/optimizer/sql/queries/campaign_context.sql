-- What recommendations of timing and channel are made from.

-- name: fetch_campaign_channel :one
-- The channel that the catalog has for a campaign; null where it has none.
select nullif(channel, 0) as channel
from analytics_v1.campaigns
where campaign_id = $1;

-- name: list_channel_sums :many
-- What campaigns of the type $1 did over each channel in the days [$2, $3).
select
    d.campaign_id, d.channel, sum(d.impressions)::bigint as impressions,
    sum(d.conversions)::bigint as conversions, sum(d.cost_micros)::bigint as cost_micros,
    coalesce(max(c.currency_code), '') as currency_code
from analytics_v1.campaigns c
join analytics_v1.campaign_channel_daily d on d.campaign_id = c.campaign_id
where c.campaign_type = $1::smallint and d.channel is not null and d.day >= $2 and d.day < $3
group by d.campaign_id, d.channel
order by d.campaign_id, d.channel;

-- name: list_reached_users :many
-- At most $5 users that the campaign $1 was delivered to in [$3, $4), and of those whose send times are kept (for the
-- campaign type $2 if they are, else for any) values by local hour, and the local hours of the deliveries; nulls for
-- the others.
with sent as (
    select user_id, array_agg(event_at) as times
    from analytics_v1.user_events
    where campaign_id = $1 and event_type = 1 and event_at >= $3 and event_at < $4
    group by user_id
    order by max(event_at) desc, user_id
    limit $5::bigint
)
select t.hour_values, t.quiet_start_hour, t.quiet_end_hour, c.sent_at
from sent s
left join lateral (
    select time_zone, hour_values, quiet_start_hour, quiet_end_hour
    from user_optimal_send_times
    where user_id = s.user_id and campaign_type in (0, $2::smallint)
    order by campaign_type desc
    limit 1
) t on true
cross join lateral (
    select array_agg(extract(hour from at at time zone t.time_zone)::integer) as sent_at
    from unnest(s.times) as at
) c;
