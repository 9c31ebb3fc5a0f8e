-- migrate:up

-- What a campaign earns per impression is as well known as its conversions are many: one large purchase among a
-- hundred impressions is luck. So the ranking's minimum volume, and with it the index, counts conversions.
drop index analytics.campaign_last_30_days_revenue_per_impression_idx;
create index campaign_last_30_days_revenue_per_impression_idx on analytics.campaign_last_30_days
    (currency_code, revenue_micros_per_impression desc, campaign_id) where conversions >= 20;

-- migrate:down
drop index analytics.campaign_last_30_days_revenue_per_impression_idx;
create index campaign_last_30_days_revenue_per_impression_idx on analytics.campaign_last_30_days
    (currency_code, revenue_micros_per_impression desc, campaign_id) where impressions >= 100;
