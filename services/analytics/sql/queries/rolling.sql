-- The last 30 days, which batches and imported costs keep up to date, and which move on from day to day.

-- name: fetch_rolling_end_day :one
-- The last day of the 30 that are kept ready; none before the first roll.
select end_day
from rolling_window;

-- name: upsert_rolling_end_day :exec
-- Moves the window; its tables must be filled again in the same transaction, under the catalog's lock.
insert into rolling_window (end_day)
values ($1::date)
on conflict on constraint rolling_window_pkey do update set end_day = excluded.end_day;

-- name: fold_portfolio_days :exec
-- Makes one slot of the many of every day before $1, which few commits touch any more, so that a range is read from
-- a row per day and currency. What comes late makes slots again.
with taken as (
    delete from portfolio_analytics_daily
    where day < $1::date and slot <> 0
    returning day, currency_code, slot,
        impressions, views, clicks, conversions, revenue_micros, cost_micros, purchases,
        purchase_revenue_micros, notification_deliveries, notification_opens, geofence_entries, unsubscribes
),
folded as (
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
    from taken
    group by day, currency_code
)
insert into portfolio_analytics_daily as t (
    day, currency_code, slot, impressions, views, clicks, conversions, revenue_micros, cost_micros,
    purchases, purchase_revenue_micros, notification_deliveries, notification_opens, geofence_entries,
    unsubscribes
)
select
    day, currency_code, 0, impressions, views, clicks, conversions, revenue_micros, cost_micros, purchases,
    purchase_revenue_micros, notification_deliveries, notification_opens, geofence_entries, unsubscribes
from folded
order by day, currency_code
on conflict on constraint portfolio_analytics_daily_pkey do update set
    impressions = t.impressions + excluded.impressions,
    views = t.views + excluded.views,
    clicks = t.clicks + excluded.clicks,
    conversions = t.conversions + excluded.conversions,
    revenue_micros = t.revenue_micros + excluded.revenue_micros,
    cost_micros = t.cost_micros + excluded.cost_micros,
    purchases = t.purchases + excluded.purchases,
    purchase_revenue_micros = t.purchase_revenue_micros + excluded.purchase_revenue_micros,
    notification_deliveries = t.notification_deliveries + excluded.notification_deliveries,
    notification_opens = t.notification_opens + excluded.notification_opens,
    geofence_entries = t.geofence_entries + excluded.geofence_entries,
    unsubscribes = t.unsubscribes + excluded.unsubscribes;

-- name: fold_portfolio_hours :exec
-- Makes one slot of the many of every hour before $1, as of days.
with taken as (
    delete from portfolio_analytics_hourly
    where hour_at < $1::timestamptz and slot <> 0
    returning hour_at, currency_code, slot,
        impressions, views, clicks, conversions, revenue_micros, cost_micros, purchases,
        purchase_revenue_micros, notification_deliveries, notification_opens, geofence_entries, unsubscribes
),
folded as (
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
    from taken
    group by hour_at, currency_code
)
insert into portfolio_analytics_hourly as t (
    hour_at, currency_code, slot, impressions, views, clicks, conversions, revenue_micros, cost_micros,
    purchases, purchase_revenue_micros, notification_deliveries, notification_opens, geofence_entries,
    unsubscribes
)
select
    hour_at, currency_code, 0, impressions, views, clicks, conversions, revenue_micros, cost_micros,
    purchases, purchase_revenue_micros, notification_deliveries, notification_opens, geofence_entries,
    unsubscribes
from folded
order by hour_at, currency_code
on conflict on constraint portfolio_analytics_hourly_pkey do update set
    impressions = t.impressions + excluded.impressions,
    views = t.views + excluded.views,
    clicks = t.clicks + excluded.clicks,
    conversions = t.conversions + excluded.conversions,
    revenue_micros = t.revenue_micros + excluded.revenue_micros,
    cost_micros = t.cost_micros + excluded.cost_micros,
    purchases = t.purchases + excluded.purchases,
    purchase_revenue_micros = t.purchase_revenue_micros + excluded.purchase_revenue_micros,
    notification_deliveries = t.notification_deliveries + excluded.notification_deliveries,
    notification_opens = t.notification_opens + excluded.notification_opens,
    geofence_entries = t.geofence_entries + excluded.geofence_entries,
    unsubscribes = t.unsubscribes + excluded.unsubscribes;

-- name: fill_campaign_last_30_days :exec
-- Fills the campaigns of the window from the daily rows, by one short range of the key for each campaign.
insert into campaign_last_30_days (
    campaign_id, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros
)
select
    t.campaign_id, c.counted_currency_code, d.impressions, d.views, d.clicks, d.conversions, d.revenue_micros,
    d.cost_micros
from rolling_window w
cross join campaign_totals t
join campaigns c on c.campaign_id = t.campaign_id
cross join lateral (
    select
        count(*) as days,
        sum(r.impressions) as impressions, sum(r.views) as views, sum(r.clicks) as clicks,
        sum(r.conversions) as conversions, sum(r.revenue_micros) as revenue_micros,
        sum(r.cost_micros) as cost_micros
    from campaign_analytics_daily r
    where r.campaign_id = t.campaign_id and r.day between w.end_day - 29 and w.end_day
) d
where d.days > 0;

-- name: fill_portfolio_last_30_days :exec
-- Fills the portfolio of the window, from its days and its campaigns.
insert into portfolio_last_30_days (
    currency_code, slot, campaigns, campaigns_with_cost, roas_nanos, impressions, views, clicks, conversions,
    revenue_micros, cost_micros, purchases, purchase_revenue_micros, notification_deliveries,
    notification_opens, geofence_entries, unsubscribes
)
select
    p.currency_code, 0, coalesce(c.campaigns, 0), coalesce(c.campaigns_with_cost, 0),
    coalesce(c.roas_nanos, 0), p.impressions, p.views, p.clicks, p.conversions, p.revenue_micros,
    p.cost_micros, p.purchases, p.purchase_revenue_micros, p.notification_deliveries, p.notification_opens,
    p.geofence_entries, p.unsubscribes
from (
    select
        d.currency_code, sum(d.impressions) as impressions, sum(d.views) as views, sum(d.clicks) as clicks,
        sum(d.conversions) as conversions, sum(d.revenue_micros) as revenue_micros,
        sum(d.cost_micros) as cost_micros, sum(d.purchases) as purchases,
        sum(d.purchase_revenue_micros) as purchase_revenue_micros,
        sum(d.notification_deliveries) as notification_deliveries,
        sum(d.notification_opens) as notification_opens, sum(d.geofence_entries) as geofence_entries,
        sum(d.unsubscribes) as unsubscribes
    from rolling_window w
    join portfolio_analytics_daily d on d.day between w.end_day - 29 and w.end_day
    group by d.currency_code
) p
left join (
    select
        currency_code, count(*) as campaigns, count(*) filter (where cost_micros > 0) as campaigns_with_cost,
        sum(roas_nanos) as roas_nanos
    from campaign_last_30_days
    group by currency_code
) c on c.currency_code = p.currency_code;

-- name: count_cost_changes :exec
-- Counts changes of imported costs (campaigns $1, days $2, currencies $3, what is added $4, which may be below
-- or equal to 0) in every rollup that has them; $5 is the portfolio slot. The caller holds the catalog's shared
-- lock. A row of campaign_daily_costs that is new is named even at 0: its campaign's day exists from then on.
with changes as materialized (
    select campaign_id, day, currency_code, sum(cost_micros)::bigint as cost_micros
    from unnest($1::text[], $2::date[], $3::text[], $4::bigint[])
        as c (campaign_id, day, currency_code, cost_micros)
    group by campaign_id, day, currency_code
),
counted_days as (
    insert into campaign_analytics_daily as t (
        campaign_id, day, impressions, views, clicks, conversions, revenue_micros, cost_micros
    )
    select campaign_id, day, 0, 0, 0, 0, 0, cost_micros
    from changes
    order by campaign_id, day
    on conflict on constraint campaign_analytics_daily_pkey do update set
        cost_micros = t.cost_micros + excluded.cost_micros
),
counted_weeks as (
    insert into campaign_analytics_weekly as t (
        campaign_id, week, impressions, views, clicks, conversions, revenue_micros, cost_micros
    )
    select campaign_id, date_trunc('week', day::timestamp)::date, 0, 0, 0, 0, 0, sum(cost_micros)
    from changes
    group by 1, 2
    order by 1, 2
    on conflict on constraint campaign_analytics_weekly_pkey do update set
        cost_micros = t.cost_micros + excluded.cost_micros
),
counted_totals as (
    insert into campaign_totals as t (
        campaign_id, users, reached_users, converting_users, paying_users, impressions, views, clicks,
        conversions, revenue_micros, cost_micros, impressions_impressions, impressions_views,
        impressions_clicks, views_views, views_conversions, clicks_clicks, conversions_conversions,
        impressions_revenue, conversions_cost, revenue_revenue, revenue_cost, cost_cost, imported_cost_micros
    )
    select
        campaign_id, 0, 0, 0, 0, 0, 0, 0, 0, 0, sum(cost_micros), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        sum(cost_micros)
    from changes
    group by campaign_id
    order by campaign_id
    on conflict on constraint campaign_totals_pkey do update set
        cost_micros = t.cost_micros + excluded.cost_micros,
        imported_cost_micros = t.imported_cost_micros + excluded.imported_cost_micros
),
counted_portfolio as (
    insert into portfolio_analytics_daily as t (
        day, currency_code, slot, impressions, views, clicks, conversions, revenue_micros, cost_micros,
        purchases, purchase_revenue_micros
    )
    select day, currency_code, $5::smallint, 0, 0, 0, 0, 0, sum(cost_micros), 0, 0
    from changes
    group by day, currency_code
    order by day, currency_code
    on conflict on constraint portfolio_analytics_daily_pkey do update set
        cost_micros = t.cost_micros + excluded.cost_micros
),
window_changes as materialized (
    select c.campaign_id, c.currency_code, sum(c.cost_micros)::bigint as cost_micros
    from changes c
    join rolling_window w on c.day between w.end_day - 29 and w.end_day
    group by c.campaign_id, c.currency_code
),
window_totals as (
    insert into campaign_last_30_days as t (
        campaign_id, currency_code, impressions, views, clicks, conversions, revenue_micros, cost_micros
    )
    select campaign_id, currency_code, 0, 0, 0, 0, 0, cost_micros
    from window_changes
    order by campaign_id
    on conflict on constraint campaign_last_30_days_pkey do update set
        cost_micros = t.cost_micros + excluded.cost_micros
    returning campaign_id, revenue_micros, cost_micros, roas_nanos, (xmax = 0) as is_new
)
-- What each campaign's change does to the portfolio's counts of campaigns: new (n) minus old (n - d).
insert into portfolio_last_30_days as t (
    currency_code, slot, campaigns, campaigns_with_cost, roas_nanos, impressions, views, clicks, conversions,
    revenue_micros, cost_micros, purchases, purchase_revenue_micros, notification_deliveries,
    notification_opens, geofence_entries, unsubscribes
)
select
    d.currency_code, $5::smallint,
    count(*) filter (where n.is_new),
    count(*) filter (where n.cost_micros > 0) - count(*) filter (where n.cost_micros > d.cost_micros),
    sum(
        coalesce(n.roas_nanos, 0)
        - coalesce(
            round(n.revenue_micros::numeric * 1000000000 / nullif(n.cost_micros - d.cost_micros, 0)), 0
        )
    ),
    0, 0, 0, 0, 0, sum(d.cost_micros), 0, 0, 0, 0, 0, 0
from window_totals n
join window_changes d on d.campaign_id = n.campaign_id
group by d.currency_code
order by d.currency_code
on conflict on constraint portfolio_last_30_days_pkey do update set
    campaigns = t.campaigns + excluded.campaigns,
    campaigns_with_cost = t.campaigns_with_cost + excluded.campaigns_with_cost,
    roas_nanos = t.roas_nanos + excluded.roas_nanos,
    cost_micros = t.cost_micros + excluded.cost_micros;
