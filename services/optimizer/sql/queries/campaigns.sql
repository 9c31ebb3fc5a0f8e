-- Statements of the campaigns that run now.

-- name: count_active_campaigns :many
-- How many campaigns of the catalog run at $1, by merchant; those without one together.
select merchant_id, count(*) as campaigns
from analytics_v1.campaigns
where (start_at is null or start_at <= $1) and (end_at is null or end_at > $1)
group by merchant_id;

-- name: list_active_campaigns :many
-- At most $5 campaigns of the merchants $4 that run at $1, the first merchants' first; the offer is the catalog's, else
-- the one that was last sent in the days [$2, $3).
with active as (
    select c.*, nearest.place
    from unnest($4::integer[]) with ordinality as nearest (merchant_id, place)
    join analytics_v1.campaigns c using (merchant_id)
    where (c.start_at is null or c.start_at <= $1) and (c.end_at is null or c.end_at > $1)
    order by nearest.place, c.campaign_id
    limit $5
)
select
    c.campaign_id, coalesce(nullif(c.campaign_name, ''), c.campaign_id) as campaign_name,
    nullif(c.campaign_type, 0) as campaign_type, c.merchant_id, coalesce(c.currency_code, '') as currency_code,
    coalesce(c.offer_amount_micros, recent.offer_amount_micros) as offer_micros
from active c
left join (
    select
        campaign_id,
        (array_agg(offer_amount_micros order by day desc, views desc, offer_amount_micros)
            filter (where offer_amount_micros is not null))[1] as offer_amount_micros
    from analytics_v1.campaign_offer_daily
    where day >= $2 and day < $3 and campaign_id in (select campaign_id from active)
    group by campaign_id
) recent using (campaign_id)
order by c.place, c.campaign_id;
