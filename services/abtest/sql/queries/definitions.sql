-- Tests as they are defined: groups, weight epochs, who asked for them.

-- name: list_known_campaigns :many
-- Which of these campaigns the catalog has.
select campaign_id
from analytics_v1.campaigns
where campaign_id = any($1::text[]);

-- name: list_currencies :many
-- The currencies of those of these campaigns that have one.
select campaign_id, currency_code
from analytics_v1.campaigns
where campaign_id = any($1::text[]) and currency_code is not null;

-- name: insert_test :exec
-- Adds a test in its first weight epoch.
insert into ab_tests (
    test_id, test_name, status, decision_method, target_sample_size, confidence_level, minimum_detectable_effect,
    hash_seed, current_epoch, request_id, created_at, hypothesis, planned_duration_days, planned_looks, starts_at,
    started_at, ends_at
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17);

-- name: insert_groups :exec
-- Adds a test's groups; the arrays are in the groups' order.
insert into ab_test_groups (test_id, group_index, group_name, campaign_id)
select $1, g.position - 1, g.group_name, g.campaign_id
from unnest($2::text[], $3::text[]) with ordinality as g (group_name, campaign_id, position);

-- name: insert_metrics :exec
-- Adds a test's metrics; the arrays are in the metrics' order, the primary one first.
insert into ab_test_metrics (
    test_id, metric_index, metric_name, role, kind, numerator_source, numerator_event_name, denominator_source,
    denominator_event_name, window_hours, winsorize_quantile, covariate_days, non_inferiority_margin,
    higher_is_better
)
select
    $1, m.position - 1, m.metric_name, m.role, m.kind, m.numerator_source, m.numerator_event_name,
    m.denominator_source, m.denominator_event_name, m.window_hours, m.winsorize_quantile, m.covariate_days,
    m.non_inferiority_margin, m.higher_is_better
from unnest(
    $2::text[], $3::smallint[], $4::smallint[], $5::smallint[], $6::text[], $7::smallint[], $8::text[],
    $9::integer[], $10::double precision[], $11::integer[], $12::double precision[], $13::boolean[]
) with ordinality as m (
    metric_name, role, kind, numerator_source, numerator_event_name, denominator_source, denominator_event_name,
    window_hours, winsorize_quantile, covariate_days, non_inferiority_margin, higher_is_better, position
);

-- name: insert_weight_epoch :exec
-- Adds a weight epoch of a test.
insert into ab_test_weight_epochs (test_id, epoch, weights, coverage, started_at)
values ($1, $2, $3, $4, $5);

-- name: list_tests_by_id :many
-- These tests with their groups and current weights.
select
    test_id, test_name, status, decision_method, target_sample_size, confidence_level, minimum_detectable_effect,
    hash_seed, created_at, ended_at, epoch, weights, coverage, group_names, campaign_ids, hypothesis,
    planned_duration_days, planned_looks, starts_at, started_at, ends_at, metrics
from ab_test_definitions
where test_id = any($1::text[]);

-- name: lock_test :exec
-- Waits for the assignments of a test that are under way and holds up later ones until the transaction is over.
select pg_advisory_xact_lock(hashtextextended('abtest.ab_tests/' || $1::text, 0));

-- name: fetch_request :one
-- The test that a request created, and what it asked for (null for a test that is older than the audit log).
select t.test_id, c.differences
from ab_tests t
left join ab_test_changes c on c.test_id = t.test_id and c.change_number = 1
where t.request_id = $1;

-- name: list_tests :many
-- A page of the history, the newest first, after the test that the page before ended with, of those that pass every
-- filter that is not null: statuses, campaign, decision method, verdict, times of creation, a part of the name.
select
    t.test_id, t.test_name, t.status, t.decision_method, t.target_sample_size, t.confidence_level,
    t.minimum_detectable_effect, t.hash_seed, t.created_at, t.ended_at, t.epoch, t.weights, t.coverage,
    t.group_names, t.campaign_ids, t.hypothesis, t.planned_duration_days, t.planned_looks, t.starts_at,
    t.started_at, t.ends_at, t.metrics
from ab_test_definitions t
where (t.created_at, t.test_id) < ($1::timestamptz, $2::text)
    and t.status = any($4::smallint[])
    and ($5::text is null or exists (
        select from ab_test_groups g where g.test_id = t.test_id and g.campaign_id = $5
    ))
    and ($6::smallint is null or t.decision_method = $6)
    and ($7::smallint is null or exists (
        select from ab_test_results r where r.test_id = t.test_id and r.is_final and r.verdict = $7
    ))
    and ($8::timestamptz is null or t.created_at >= $8)
    and ($9::timestamptz is null or t.created_at < $9)
    and ($10::text is null or position(lower($10) in lower(t.test_name)) > 0)
order by t.created_at desc, t.test_id desc
limit $3;

-- name: update_test :exec
-- Writes what of a test may change, after lock_test.
update ab_tests
set
    test_name = $2, hypothesis = $3, planned_duration_days = $4, target_sample_size = $5, confidence_level = $6,
    minimum_detectable_effect = $7, starts_at = $8, ends_at = $9, status = $10, started_at = $11, ended_at = $12,
    current_epoch = $13
where test_id = $1;

-- name: list_weight_epochs :many
-- The weight epochs of a test, the first one first.
select epoch, weights, coverage, started_at
from ab_test_weight_epochs
where test_id = $1
order by epoch;

-- name: list_due_starts :many
-- Scheduled tests whose start has come by $1, the earliest first.
select test_id
from ab_tests
where status = 4 and starts_at <= $1
order by starts_at, test_id;

-- name: list_due_ends :many
-- Running and paused tests whose end has come by $1, and tests that ended by $2 and have no final result, because the
-- process that ended them died before it was kept; the earliest first.
select test_id
from (
    select test_id, ends_at as due_at
    from ab_tests
    where status in (1, 5) and ends_at <= $1
    union all
    select t.test_id, t.ended_at
    from ab_tests t
    where
        t.status = 2 and t.ended_at <= $2
        and not exists (select from ab_test_results r where r.test_id = t.test_id and r.is_final)
) as due
order by due_at, test_id;
