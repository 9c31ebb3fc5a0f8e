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
    sum(purchase_revenue_micros)::bigint as purchase_revenue_micros
from portfolio_analytics_daily
where day between $1::date and $2::date
group by currency_code
order by currency_code;

-- name: list_portfolio_campaigns :many
-- Every campaign with an event on the days from $1 to $2, both included, and what it did.
select
    d.campaign_id,
    c.counted_currency_code as currency_code,
    sum(d.impressions)::bigint as impressions,
    sum(d.views)::bigint as views,
    sum(d.clicks)::bigint as clicks,
    sum(d.conversions)::bigint as conversions,
    sum(d.revenue_micros)::bigint as revenue_micros,
    sum(d.cost_micros)::bigint as cost_micros
from campaign_analytics_daily d
join campaigns c on c.campaign_id = d.campaign_id
where d.day between $1::date and $2::date
group by d.campaign_id, c.counted_currency_code
order by d.campaign_id;

-- name: list_partial_day :many
-- What was counted from $1 up to $2, included, per campaign (null: no campaign) and currency.
select
    campaign_id,
    currency_code,
    count(*) filter (where event_type = 1) as impressions,
    count(*) filter (where event_type = 2) as views,
    count(*) filter (where event_type = 3) as clicks,
    count(*) filter (where event_type = 4) as conversions,
    coalesce(sum(case when event_type = 5 then -revenue_micros else revenue_micros end), 0)::bigint
        as revenue_micros,
    coalesce(sum(cost_micros), 0)::bigint as cost_micros
from events
where counted_at >= $1::timestamptz and counted_at <= $2::timestamptz
group by campaign_id, currency_code
order by campaign_id, currency_code;
