-- Statements of what analytics publishes of its settings, campaigns and merchants.

-- name: fetch_reporting_time_zone :one
-- The time zone whose days analytics counts in.
select reporting_time_zone
from analytics_v1.reporting_settings;

-- name: fetch_campaign :one
-- What the catalog knows of a campaign.
select
    campaign_id, campaign_type, merchant_id, offer_amount_micros, gross_margin_rate,
    coalesce(currency_code, '') as currency_code, end_at
from analytics_v1.campaigns
where campaign_id = $1;

-- name: fetch_merchant_terms :one
-- The gross margins of a merchant's campaigns, and their currency (empty where they have none or several).
select
    count(gross_margin_rate) as campaigns_with_margin, avg(gross_margin_rate) as mean_margin,
    min(gross_margin_rate) as lowest_margin, max(gross_margin_rate) as highest_margin,
    case when count(distinct currency_code) = 1 then max(currency_code) else '' end as currency_code
from analytics_v1.campaigns
where merchant_id = $1;

-- name: fetch_merchant :one
-- Whether the catalog knows a merchant.
select merchant_id
from analytics_v1.merchants
where merchant_id = $1;
