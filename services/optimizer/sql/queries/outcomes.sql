-- Statements of what campaigns did, by day and offer as sent, as analytics publishes it.

-- name: list_daily_outcomes :many
-- Outcomes by campaign, day and offer as sent, in the days [$1, $2), of campaigns in the catalog or not; always in one
-- order: a training that draws rows draws the same ones again.
select
    d.campaign_id, d.day, d.offer_amount_micros, d.impressions, d.views, d.conversions, c.campaign_type,
    c.merchant_id
from analytics_v1.campaign_offer_daily d
left join analytics_v1.campaigns c using (campaign_id)
where d.day >= $1 and d.day < $2
order by d.day, d.campaign_id, d.offer_amount_micros;

-- name: has_views :one
-- Whether anybody viewed a campaign on the days [$1, $2).
select exists(
    select 1
    from analytics_v1.campaign_offer_daily
    where day >= $1 and day < $2 and views > 0
) as found;

-- name: list_campaign_offers :many
-- What campaigns $1 did by the offer as sent (null where unknown) in the days [$2, $3); of one that nobody viewed in
-- those, as many days up to the last viewed one since $4, which is then seen_until.
with spans as (
    select
        asked.campaign_id, paused.last_day as seen_until,
        coalesce(paused.last_day + 1 - ($3::date - $2::date), $2::date) as first_day,
        coalesce(paused.last_day + 1, $3::date) as end_day
    from unnest($1::text[]) asked (campaign_id)
    left join (
        select campaign_id, max(day) as last_day
        from analytics_v1.campaign_offer_daily
        where campaign_id = any($1::text[]) and day >= $4 and day < $3 and views > 0
        group by campaign_id
        having max(day) < $2
    ) paused using (campaign_id)
)
select
    d.campaign_id,
    d.offer_amount_micros,
    sum(d.impressions)::bigint as impressions,
    sum(d.views)::bigint as views,
    sum(d.conversions)::bigint as conversions,
    count(*) filter (where d.views > 0) as viewed_days,
    max(d.day) as last_day,
    coalesce(
        array_agg(distinct extract(isodow from d.day)::integer - 1) filter (where d.views > 0), '{}'
    ) as weekdays,
    s.seen_until
from spans s
join analytics_v1.campaign_offer_daily d using (campaign_id)
where d.campaign_id = any($1::text[]) and d.day >= s.first_day and d.day < s.end_day
group by d.campaign_id, d.offer_amount_micros, s.seen_until
order by d.campaign_id, d.offer_amount_micros;

-- name: fetch_campaign_revenue :one
-- A campaign's conversions and their revenue in the days [$2, $3), and squares and products of the days' sums.
select
    coalesce(sum(conversions), 0)::bigint as conversions,
    coalesce(sum(revenue_micros), 0)::bigint as revenue_micros,
    count(*) as days,
    coalesce(sum(conversions * conversions), 0)::double precision as conversions_conversions,
    coalesce(sum(conversions * revenue_micros), 0)::double precision as conversions_revenue,
    coalesce(sum(revenue_micros * revenue_micros), 0)::double precision as revenue_revenue
from (
    select sum(conversions) as conversions, sum(revenue_micros) as revenue_micros
    from analytics_v1.campaign_offer_daily
    where campaign_id = $1 and day >= $2 and day < $3
    group by day
    having sum(conversions) > 0 or sum(revenue_micros) <> 0
) daily;

-- name: list_merchant_revenue :many
-- Conversions and revenue of a merchant's campaigns in the days [$2, $3), by currency, and squares and products of
-- the days' sums.
select
    currency_code,
    sum(conversions)::bigint as conversions,
    sum(revenue_micros)::bigint as revenue_micros,
    count(*) as days,
    sum(conversions * conversions)::double precision as conversions_conversions,
    sum(conversions * revenue_micros)::double precision as conversions_revenue,
    sum(revenue_micros * revenue_micros)::double precision as revenue_revenue
from (
    select c.currency_code, sum(d.conversions) as conversions, sum(d.revenue_micros) as revenue_micros
    from analytics_v1.campaigns c
    cross join lateral (
        -- Added up for each campaign by itself: a join would first add up every campaign's days.
        select day, sum(conversions) as conversions, sum(revenue_micros) as revenue_micros
        from analytics_v1.campaign_offer_daily
        where campaign_id = c.campaign_id and day >= $2 and day < $3
        group by day
    ) d
    where c.merchant_id = $1
    group by c.currency_code, d.day
    having sum(d.conversions) > 0 or sum(d.revenue_micros) <> 0
) daily
group by currency_code
having sum(conversions) > 0;

-- name: fetch_typical_history :one
-- What a campaign of a type does in the days [$2, $3): impressions, views and conversions of the average one, and
-- the views of one offer on a day that had any.
select
    coalesce(avg(total.impressions), 0)::double precision as impressions,
    coalesce(avg(total.views), 0)::double precision as views,
    coalesce(avg(total.conversions), 0)::double precision as conversions,
    (sum(total.views) / nullif(sum(total.viewed_days), 0))::double precision as daily_views
from (
    select d.impressions, d.views, d.conversions, d.viewed_days
    from analytics_v1.campaigns c
    cross join lateral (
        select
            sum(impressions) as impressions, sum(views) as views, sum(conversions) as conversions,
            count(*) filter (where views > 0) as viewed_days
        from analytics_v1.campaign_offer_daily
        where campaign_id = c.campaign_id and day >= $2 and day < $3
        having count(*) > 0
    ) d
    where c.campaign_type = $1
) total;

-- name: list_campaign_revenue :many
-- Conversions and revenue in the days [$2, $3) of every campaign in the currency of a merchant's campaigns.
select c.merchant_id, d.conversions, d.revenue_micros
from analytics_v1.campaigns c
cross join lateral (
    select sum(conversions)::bigint as conversions, sum(revenue_micros)::bigint as revenue_micros
    from analytics_v1.campaign_offer_daily
    where campaign_id = c.campaign_id and day >= $2 and day < $3
    having sum(conversions) > 0
) d
where c.currency_code in (select own.currency_code from analytics_v1.campaigns own where own.merchant_id = $1)
    and c.merchant_id is not null;
