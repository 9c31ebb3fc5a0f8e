-- Statements of the campaigns that run now.

-- name: list_active_campaigns :many
-- The campaigns of the catalog that run at $1; the offer is the catalog's, else the one that was last sent in the days
-- [$2, $3).
select
    c.campaign_id, coalesce(nullif(c.campaign_name, ''), c.campaign_id) as campaign_name,
    nullif(c.campaign_type, 0) as campaign_type, c.merchant_id, coalesce(c.currency_code, '') as currency_code,
    coalesce(c.offer_amount_micros, recent.offer_amount_micros) as offer_micros
from analytics_v1.campaigns c
left join (
    select
        campaign_id,
        (array_agg(offer_amount_micros order by day desc, views desc, offer_amount_micros)
            filter (where offer_amount_micros is not null))[1] as offer_amount_micros
    from analytics_v1.campaign_offer_daily
    where day >= $2 and day < $3
    group by campaign_id
) recent using (campaign_id)
where (c.start_at is null or c.start_at <= $1) and (c.end_at is null or c.end_at > $1);
