-- What applied recommendations and ended A/B tests did.

-- name: list_unmeasured_optimizations :many
-- At most $1 applied recommendations whose outcome is not final and was not counted since $2, those measured longest ago
-- first.
select
    optimization_id, campaign_id, optimization_type, status, recommendation, inputs_key, created_at, expires_at,
    decided_at, applied_at
from campaign_optimizations
where
    status = 'applied' and not is_outcome_final and (outcome_measured_at is null or outcome_measured_at < $2)
order by outcome_measured_at nulls first, applied_at
limit $1;

-- name: note_measured_optimization :exec
-- Keep that the outcome of $1 was looked at, at $2, and whether ($3) it is final.
update campaign_optimizations
set outcome_measured_at = $2, is_outcome_final = $3
where optimization_id = $1::uuid;

-- name: list_campaign_days :many
-- Impressions, views and conversions of a campaign by day in [$2, $3), at the offer $4 as sent (null: at any).
select
    day, sum(impressions)::bigint as impressions, sum(views)::bigint as views, sum(conversions)::bigint as conversions
from analytics_v1.campaign_offer_daily
where campaign_id = $1 and day >= $2 and day < $3 and ($4::bigint is null or offer_amount_micros = $4::bigint)
group by day
order by day;

-- name: list_unkept_tests :many
-- At most $1 comparisons of ended A/B tests that no outcome was kept of.
select
    t.test_id, v.group_name, v.campaign_id, k.campaign_id as control_campaign_id, t.started_at, t.ended_at,
    v.relative_lift, v.relative_lift_lower, v.relative_lift_upper
from abtest_v1.ended_tests t
join abtest_v1.ended_test_groups v on v.test_id = t.test_id and not v.is_control
join abtest_v1.ended_test_groups k on k.test_id = t.test_id and k.is_control
where
    t.started_at is not null and t.ended_at is not null
    and not exists (
        select 1
        from offer_optimization_history h
        where h.source = 'ab_test' and h.source_id = t.test_id || '/' || v.group_name
    )
order by t.ended_at, t.test_id, v.group_name
limit $1;

-- name: fetch_sent_offer :one
-- The offer that a campaign was viewed with most in the days [$2, $3); null where none is known.
select
    (
        select offer_amount_micros
        from analytics_v1.campaign_offer_daily
        where campaign_id = $1 and day >= $2 and day < $3 and offer_amount_micros is not null
        group by offer_amount_micros
        order by sum(views) desc, offer_amount_micros
        limit 1
    ) as offer_micros;

-- name: upsert_offer_outcome :exec
-- Keeps an outcome, or what was counted since of one that is not final.
insert into offer_optimization_history (
    history_id, campaign_id, optimization_id, source, source_id, optimization_type, choice, previous_offer_micros,
    offer_micros, predicted_conversion_rate, predicted_lower, predicted_upper, expected_effect, observed_views,
    observed_conversions, observed_lower, observed_upper, previous_views, previous_conversions, relative_lift,
    relative_lift_lower, relative_lift_upper, applied_at, measured_at, window_ends_at, is_final, previous_lower,
    previous_upper, worth, concurrent_worth, promise
)
values (
    $1::uuid, $2, $3::uuid, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
    $23, $24, $25, $26, $27, $28, $29::jsonb, $30::jsonb, $31::jsonb
)
on conflict on constraint offer_optimization_history_source_key do update set
    expected_effect = excluded.expected_effect,
    observed_views = excluded.observed_views,
    observed_conversions = excluded.observed_conversions,
    observed_lower = excluded.observed_lower,
    observed_upper = excluded.observed_upper,
    previous_views = excluded.previous_views,
    previous_conversions = excluded.previous_conversions,
    previous_lower = excluded.previous_lower,
    previous_upper = excluded.previous_upper,
    relative_lift = excluded.relative_lift,
    relative_lift_lower = excluded.relative_lift_lower,
    relative_lift_upper = excluded.relative_lift_upper,
    worth = excluded.worth,
    concurrent_worth = excluded.concurrent_worth,
    promise = excluded.promise,
    measured_at = excluded.measured_at,
    is_final = excluded.is_final
where not offer_optimization_history.is_final;

-- name: list_offer_outcomes :many
-- At most $3 outcomes after the one applied at $1 with the id $2 (nulls: from the first on), the latest applied first.
select
    history_id, campaign_id, source, source_id, optimization_type, choice, previous_offer_micros, offer_micros,
    predicted_conversion_rate, predicted_lower, predicted_upper, expected_effect, observed_views,
    observed_conversions, observed_lower, observed_upper, previous_views, previous_conversions, relative_lift,
    relative_lift_lower, relative_lift_upper, applied_at, measured_at, window_ends_at, is_final, previous_lower,
    previous_upper, worth, concurrent_worth, promise
from offer_optimization_history
where $1::timestamptz is null or (applied_at, history_id) < ($1::timestamptz, $2::uuid)
order by applied_at desc, history_id desc
limit $3;

-- name: list_campaign_offer_outcomes :many
-- The same of the campaign $1: at most $4 after the one applied at $2 with the id $3.
select
    history_id, campaign_id, source, source_id, optimization_type, choice, previous_offer_micros, offer_micros,
    predicted_conversion_rate, predicted_lower, predicted_upper, expected_effect, observed_views,
    observed_conversions, observed_lower, observed_upper, previous_views, previous_conversions, relative_lift,
    relative_lift_lower, relative_lift_upper, applied_at, measured_at, window_ends_at, is_final, previous_lower,
    previous_upper, worth, concurrent_worth, promise
from offer_optimization_history
where
    campaign_id = $1 and ($2::timestamptz is null or (applied_at, history_id) < ($2::timestamptz, $3::uuid))
order by applied_at desc, history_id desc
limit $4;
