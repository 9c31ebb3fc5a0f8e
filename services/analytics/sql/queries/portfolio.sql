-- All campaigns together.

-- name: list_portfolio_days :many
-- The portfolio's counts of the days from $1 to $2, both included, per currency, slots added.
select
    currency_code,
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
from portfolio_analytics_daily
where day between $1::date and $2::date
group by currency_code
order by currency_code;

-- name: list_portfolio_sides :many
-- A range of the portfolio and the one before it, per currency: whole days from $1 to $2 (before: $5 to $6), and of
-- the day after them, which begins at $3 ($7), what is counted up to $4 ($8), included; that is null where there are
-- whole days only. Where $9 says that the range is 30 whole days, and these are the ones kept ready, they and
-- their campaigns are read from there (is_ready). Each side has a row, without a currency where nothing happened.
with sides as materialized (
    select
        g.side, g.first_day, g.last_day, g.day_start, g.moment,
        date_trunc('hour', g.moment, z.reporting_time_zone) as hour_at, z.reporting_time_zone,
        g.is_30_days and exists (select from rolling_window w where w.end_day = g.last_day) as is_ready
    from reporting_settings z
    cross join (
        values
            ('now', $1::date, $2::date, $3::timestamptz, $4::timestamptz, $9::boolean),
            ('before', $5::date, $6::date, $7::timestamptz, $8::timestamptz, false)
    ) as g (side, first_day, last_day, day_start, moment, is_30_days)
)
select
    s.side, s.is_ready, p.currency_code,
    coalesce(sum(p.impressions), 0)::bigint as impressions,
    coalesce(sum(p.views), 0)::bigint as views,
    coalesce(sum(p.clicks), 0)::bigint as clicks,
    coalesce(sum(p.conversions), 0)::bigint as conversions,
    coalesce(sum(p.revenue_micros), 0)::bigint as revenue_micros,
    coalesce(sum(p.cost_micros), 0)::bigint as cost_micros,
    coalesce(sum(p.purchases), 0)::bigint as purchases,
    coalesce(sum(p.purchase_revenue_micros), 0)::bigint as purchase_revenue_micros,
    coalesce(sum(p.notification_deliveries), 0)::bigint as notification_deliveries,
    coalesce(sum(p.notification_opens), 0)::bigint as notification_opens,
    coalesce(sum(p.geofence_entries), 0)::bigint as geofence_entries,
    coalesce(sum(p.unsubscribes), 0)::bigint as unsubscribes,
    coalesce(sum(p.campaigns), 0)::bigint as campaigns,
    coalesce(sum(p.campaigns_with_cost), 0)::bigint as campaigns_with_cost,
    coalesce(sum(p.roas_nanos), 0) as roas_nanos
from sides s
left join lateral (
    select
        currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros, purchases,
        purchase_revenue_micros, notification_deliveries, notification_opens, geofence_entries, unsubscribes,
        campaigns, campaigns_with_cost, roas_nanos
    from portfolio_last_30_days
    where s.is_ready
    union all
    select
        currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros, purchases,
        purchase_revenue_micros, notification_deliveries, notification_opens, geofence_entries, unsubscribes,
        0, 0, 0
    from portfolio_analytics_daily
    where not s.is_ready and day between s.first_day and s.last_day
    union all
    select
        currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros, purchases,
        purchase_revenue_micros, notification_deliveries, notification_opens, geofence_entries, unsubscribes,
        0, 0, 0
    from portfolio_analytics_hourly
    where hour_at >= s.day_start and hour_at < s.hour_at
    union all
    -- Where the clock goes back by half an hour, an hour begins after the moment it is named by.
    select
        currency_code,
        (campaign_id is not null and event_type = 1)::integer,
        (campaign_id is not null and event_type = 2)::integer,
        (campaign_id is not null and event_type = 3)::integer,
        (campaign_id is not null and event_type = 4)::integer,
        case when campaign_id is not null then r.revenue_micros else 0 end,
        coalesce(cost_micros, 0),
        (campaign_id is null and event_type = 4)::integer,
        case when campaign_id is null then r.revenue_micros else 0 end,
        (event_type = 8)::integer, (event_type = 9)::integer, (event_type = 7)::integer,
        (event_type = 6)::integer,
        0, 0, 0
    from events
    cross join lateral (
        select
            coalesce(case when event_type = 5 then -events.revenue_micros else events.revenue_micros end, 0)
                as revenue_micros
    ) r
    where counted_at >= s.hour_at and counted_at <= s.moment
        and date_trunc('hour', counted_at, s.reporting_time_zone) = s.hour_at
) p on true
group by s.side, s.is_ready, p.currency_code
order by s.side, p.currency_code;

-- name: count_portfolio_campaigns :many
-- How many campaigns have an event or an imported cost, how many of them cost, and the sum of these campaigns' ROAS
-- in billionths, per currency: on the whole days from $1 to $2, and of the day after them, which begins at $3, up
-- to $4, included; that is null where there are whole days only. What has no campaign finds none at the end.
with hour as (
    select date_trunc('hour', $4::timestamptz, reporting_time_zone) as hour_at, reporting_time_zone
    from reporting_settings
),
counted as (
    select campaign_id, revenue_micros, cost_micros
    from campaign_analytics_daily
    where day between $1::date and $2::date
    union all
    select h.campaign_id, h.revenue_micros, h.cost_micros
    from campaign_analytics_daily d
    join campaign_trend_data h on h.campaign_id = d.campaign_id
    where $4::timestamptz is not null
        and d.day = $2::date + 1
        and h.hour_at >= $3::timestamptz and h.hour_at < (select hour_at from hour)
    union all
    select
        campaign_id,
        coalesce(case when event_type = 5 then -revenue_micros else revenue_micros end, 0),
        coalesce(cost_micros, 0)
    from events
    where counted_at >= (select hour_at from hour) and counted_at <= $4::timestamptz
        and date_trunc('hour', counted_at, (select reporting_time_zone from hour))
            = (select hour_at from hour)
),
sums as (
    select
        campaign_id, sum(revenue_micros)::bigint as revenue_micros, sum(cost_micros)::bigint as cost_micros
    from counted
    group by campaign_id
)
select
    c.counted_currency_code as currency_code,
    count(*) as campaigns,
    count(*) filter (where s.cost_micros > 0) as campaigns_with_cost,
    coalesce(sum(round(s.revenue_micros::numeric * 1000000000 / nullif(s.cost_micros, 0))), 0) as roas_nanos
from sums s
join campaigns c on c.campaign_id = s.campaign_id
group by c.counted_currency_code
order by c.counted_currency_code;
