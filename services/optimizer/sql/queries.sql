-- Every statement of the optimizer. Own tables are unqualified; a neighbour's are its published views.

-- name: try_lock_training :one
-- Whether this transaction now holds the right to train; it ends with the transaction, however that ends.
select pg_try_advisory_xact_lock(hashtextextended('optimizer.training', 0)) as locked;

-- name: fetch_reporting_time_zone :one
-- The time zone whose days analytics counts in.
select reporting_time_zone
from analytics_v1.reporting_settings;

-- name: list_daily_outcomes :many
-- Outcomes by campaign, day and offer as sent, in the days [$1, $2), of campaigns in the catalog or not.
select
    d.campaign_id, d.day, d.offer_amount_micros, d.impressions, d.views, d.conversions, c.campaign_type,
    c.merchant_id
from analytics_v1.campaign_offer_daily d
left join analytics_v1.campaigns c using (campaign_id)
where d.day >= $1 and d.day < $2;

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

-- name: list_campaign_offers :many
-- What a campaign did by the offer as sent, in the days [$2, $3); the offer is null where unknown.
select
    offer_amount_micros,
    sum(impressions)::bigint as impressions,
    sum(views)::bigint as views,
    sum(conversions)::bigint as conversions,
    count(*) filter (where views > 0) as viewed_days,
    max(day) as last_day
from analytics_v1.campaign_offer_daily
where campaign_id = $1 and day >= $2 and day < $3
group by offer_amount_micros
order by offer_amount_micros;

-- name: fetch_last_viewed_day :one
-- The last of the days [$2, $3) on which somebody viewed a campaign, null where nobody did.
select max(day) as last_day
from analytics_v1.campaign_offer_daily
where campaign_id = $1 and day >= $2 and day < $3 and views > 0;

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
    join analytics_v1.campaign_offer_daily d using (campaign_id)
    where c.merchant_id = $1 and d.day >= $2 and d.day < $3
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
    select
        sum(d.impressions) as impressions, sum(d.views) as views, sum(d.conversions) as conversions,
        count(*) filter (where d.views > 0) as viewed_days
    from analytics_v1.campaigns c
    join analytics_v1.campaign_offer_daily d using (campaign_id)
    where c.campaign_type = $1 and d.day >= $2 and d.day < $3
    group by c.campaign_id
) total;

-- name: fetch_newest_version :one
-- The highest version a model ever had, 0 for none.
select coalesce(max(version), 0)::bigint as version
from ml_models
where model_name = $1;

-- name: fetch_live_version :one
-- The version of a model that is live.
select version
from ml_models
where model_name = $1 and status = 'live';

-- name: fetch_model :one
-- One version of a model.
select
    version, status, status_reason, code_version, trained_at, training_seconds, first_day, split_day, end_day,
    fitted_rows, held_out_rows, views, conversions, r2_score, mae, response_r2_score, global_mean_r2_score,
    global_mean_mae, type_mean_r2_score, type_mean_mae, noise_ceiling, live_r2_score, parity_error,
    serving_parameters
from ml_models
where model_name = $1 and version = $2;

-- name: list_feature_importances :many
-- How much each feature of a version matters, most important first.
select feature_name, permutation_importance, impurity_importance
from model_feature_importance
where model_name = $1 and version = $2
order by permutation_importance desc, feature_name;

-- name: insert_model :exec
-- Keep a trained version.
insert into ml_models (
    model_name, version, status, status_reason, status_changed_at, code_version, trained_at,
    training_seconds, first_day, split_day, end_day, fitted_rows, held_out_rows, views, conversions, r2_score,
    mae, response_r2_score, global_mean_r2_score, global_mean_mae, type_mean_r2_score, type_mean_mae,
    noise_ceiling, live_r2_score, parity_error, serving_parameters
)
values (
    $1, $2, $3, $4, $5, $6, $5, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
    $23, $24, $25::jsonb
);

-- name: insert_feature_importances :exec
-- Keep how much each feature of a version matters: parallel arrays of names and two importances.
insert into model_feature_importance (
    model_name, version, feature_name, permutation_importance, impurity_importance
)
select $1, $2, feature_name, permutation_importance, impurity_importance
from unnest($3::text[], $4::double precision[], $5::double precision[])
    as importance (feature_name, permutation_importance, impurity_importance);

-- name: reject_interrupted_models :exec
-- Reject versions that were trained and never published: what was to publish them is gone.
update ml_models
set status = 'rejected', status_reason = $2, status_changed_at = $3
where model_name = $1 and status = 'candidate';

-- name: retire_live_model :exec
-- Take the live version out of service.
update ml_models
set status = 'retired', status_reason = $2, status_changed_at = $3
where model_name = $1 and status = 'live';

-- name: update_model_status :exec
-- Set where a version stands, and why.
update ml_models
set status = $3, status_reason = $4, status_changed_at = $5
where model_name = $1 and version = $2;
