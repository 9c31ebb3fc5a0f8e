-- Statements of what analytics publishes of its settings, campaigns and merchants.

-- name: fetch_reporting_time_zone :one
-- The time zone whose days analytics counts in.
select reporting_time_zone
from analytics_v1.reporting_settings;

-- name: fetch_campaign :one
-- What the catalog knows of a campaign.
select campaign_id, campaign_type, merchant_id, offer_amount_micros, gross_margin_rate
from analytics_v1.campaigns
where campaign_id = $1;

-- name: fetch_merchant :one
-- Whether the catalog knows a merchant.
select merchant_id
from analytics_v1.merchants
where merchant_id = $1;
