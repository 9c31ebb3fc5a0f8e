-- What one merchant did, through campaigns and beside them. Events count at the merchant that they named.

-- name: fetch_merchant :one
-- A merchant's name, and its first and last day with events; none for an unknown merchant.
select
    m.merchant_name,
    least(
        (select min(d.day) from campaign_delivery_daily d where d.merchant_id = m.merchant_id),
        (select min(d.day) from merchant_daily d where d.merchant_id = m.merchant_id)
    ) as first_day,
    greatest(
        (select max(d.day) from campaign_delivery_daily d where d.merchant_id = m.merchant_id),
        (select max(d.day) from merchant_daily d where d.merchant_id = m.merchant_id)
    ) as last_day
from merchants m
where m.merchant_id = $1::integer;

-- name: list_merchant_campaigns :many
-- What each campaign did at the merchant on the days from $2 to $3, both included, by conversions, the most
-- first, then by campaign_id.
select
    d.campaign_id,
    c.campaign_name,
    c.counted_currency_code as currency_code,
    sum(d.impressions)::bigint as impressions,
    sum(d.views)::bigint as views,
    sum(d.clicks)::bigint as clicks,
    sum(d.conversions)::bigint as conversions,
    sum(d.revenue_micros)::bigint as revenue_micros,
    sum(d.cost_micros)::bigint as cost_micros,
    sum(d.notification_deliveries)::bigint as notification_deliveries,
    sum(d.notification_opens)::bigint as notification_opens,
    sum(d.geofence_entries)::bigint as geofence_entries,
    sum(d.unsubscribes)::bigint as unsubscribes
from campaign_delivery_daily d
join campaigns c on c.campaign_id = d.campaign_id
where d.merchant_id = $1::integer and d.day between $2::date and $3::date
group by d.campaign_id, c.campaign_name, c.counted_currency_code
order by conversions desc, d.campaign_id;

-- name: list_merchant_purchases :many
-- Geofence entries and plain purchases at the merchant without a campaign on the days from $2 to $3, by
-- currency.
select
    currency_code,
    sum(geofence_entries)::bigint as geofence_entries,
    sum(purchases)::bigint as purchases,
    sum(purchase_revenue_micros)::bigint as purchase_revenue_micros
from merchant_daily
where merchant_id = $1::integer and day between $2::date and $3::date
group by currency_code
order by currency_code;

-- name: fetch_users_of_campaigns :one
-- The sums over the users of some campaigns together, over the campaigns' lives: those with the most
-- conversions until they have $2 rows of users, and at least one campaign.
with chosen as materialized (
    select campaign_id
    from (
        select
            campaign_id,
            row_number() over by_conversions as place,
            sum(users) over by_conversions as users
        from campaign_totals
        where campaign_id = any ($1::text[])
        window by_conversions as (order by conversions desc, campaign_id)
    ) ranked
    where place = 1 or users <= $2::bigint
),
per_user as (
    select
        sum(t.impressions)::bigint as impressions, sum(t.views)::bigint as views,
        sum(t.clicks)::bigint as clicks, sum(t.conversions)::bigint as conversions,
        sum(t.revenue_micros)::bigint as revenue_micros, sum(t.cost_micros)::bigint as cost_micros,
        sum(t.notification_deliveries)::bigint as deliveries, sum(t.notification_opens)::bigint as opens
    from chosen
    join campaign_user_totals t using (campaign_id)
    group by t.user_id
)
select
    count(*) as users,
    count(*) filter (where impressions > 0) as reached_users,
    count(*) filter (where impressions > 0 and conversions > 0) as converting_users,
    count(*) filter (where revenue_micros > 0) as paying_users,
    coalesce(sum(impressions), 0)::bigint as impressions,
    coalesce(sum(views), 0)::bigint as views,
    coalesce(sum(clicks), 0)::bigint as clicks,
    coalesce(sum(conversions), 0)::bigint as conversions,
    coalesce(sum(revenue_micros), 0)::bigint as revenue_micros,
    coalesce(sum(cost_micros), 0)::bigint as cost_micros,
    coalesce(sum(deliveries), 0)::bigint as notification_deliveries,
    coalesce(sum(opens), 0)::bigint as notification_opens,
    0 as geofence_entries,
    0 as unsubscribes,
    0 as imported_cost_micros,
    coalesce(sum(impressions * impressions), 0)::bigint as impressions_impressions,
    coalesce(sum(impressions * views), 0)::bigint as impressions_views,
    coalesce(sum(impressions * clicks), 0)::bigint as impressions_clicks,
    coalesce(sum(views * views), 0)::bigint as views_views,
    coalesce(sum(views * conversions), 0)::bigint as views_conversions,
    coalesce(sum(clicks * clicks), 0)::bigint as clicks_clicks,
    coalesce(sum(conversions * conversions), 0)::bigint as conversions_conversions,
    coalesce(sum(impressions::numeric * revenue_micros), 0) as impressions_revenue,
    coalesce(sum(conversions::numeric * cost_micros), 0) as conversions_cost,
    coalesce(sum(revenue_micros::numeric * revenue_micros), 0) as revenue_revenue,
    coalesce(sum(revenue_micros::numeric * cost_micros), 0) as revenue_cost,
    coalesce(sum(cost_micros::numeric * cost_micros), 0) as cost_cost,
    coalesce(sum(revenue_micros::numeric * revenue_micros * revenue_micros), 0) as revenue_revenue_revenue,
    coalesce(sum(deliveries * deliveries), 0)::bigint as deliveries_deliveries,
    coalesce(sum(deliveries * opens), 0)::bigint as deliveries_opens,
    coalesce(sum(opens * opens), 0)::bigint as opens_opens
from per_user;
