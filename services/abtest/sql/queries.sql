-- name: list_known_campaigns :many
-- Which of these campaigns the catalog has.
select campaign_id
from analytics_v1.campaigns
where campaign_id = any($1::text[]);

-- name: insert_test :exec
-- Adds a running test in its first weight epoch.
insert into ab_tests (
    test_id, test_name, status, decision_method, target_sample_size, confidence_level, minimum_detectable_effect,
    hash_seed, current_epoch, request_id, created_at
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: insert_groups :exec
-- Adds a test's groups; the arrays are in the groups' order.
insert into ab_test_groups (test_id, group_index, group_name, campaign_id)
select $1, g.position - 1, g.group_name, g.campaign_id
from unnest($2::text[], $3::text[]) with ordinality as g (group_name, campaign_id, position);

-- name: insert_weight_epoch :exec
-- Adds a weight epoch of a test.
insert into ab_test_weight_epochs (test_id, epoch, weights, coverage, started_at)
values ($1, $2, $3, $4, $5);

-- name: list_tests_by_id :many
-- These tests with their groups and current weights.
select
    test_id, test_name, status, decision_method, target_sample_size, confidence_level, minimum_detectable_effect,
    hash_seed, created_at, ended_at, epoch, weights, coverage, group_names, campaign_ids
from ab_test_definitions
where test_id = any($1::text[]);

-- name: share_tests :exec
-- Keeps these tests from ending or changing weights until the transaction is over. Advisory locks queue fairly:
-- on the row itself, a stream of assignments would let whoever ends the test wait for ever.
select pg_advisory_xact_lock_shared(hashtextextended('abtest.ab_tests/' || wanted.test_id, 0))
from (select test_id from unnest($1::text[]) as t (test_id) order by test_id) as wanted;

-- name: lock_test :exec
-- Waits for the assignments of a test that are under way and holds up later ones until the transaction is over.
select pg_advisory_xact_lock(hashtextextended('abtest.ab_tests/' || $1::text, 0));

-- name: fetch_request :one
-- The test that a request created, with the weights and coverage that it was created with.
select t.test_id, w.weights, w.coverage
from ab_tests t
join ab_test_weight_epochs w on w.test_id = t.test_id and w.epoch = 1
where t.request_id = $1;

-- name: list_tests :many
-- A page of the history, the newest first, after the test that the page before ended with.
select
    test_id, test_name, status, decision_method, target_sample_size, confidence_level, minimum_detectable_effect,
    hash_seed, created_at, ended_at, epoch, weights, coverage, group_names, campaign_ids
from ab_test_definitions
where (created_at, test_id) < ($1::timestamptz, $2::text)
order by created_at desc, test_id desc
limit $3;

-- name: end_test :exec
-- Ends a test unless it has ended.
update ab_tests
set status = 2, ended_at = $2
where test_id = $1 and status = 1;

-- name: list_assignments :many
-- The assignments that exist of these pairs of test and user.
select
    a.test_id, a.user_id, a.group_index, a.epoch, a.propensity, a.assigned_at, g.group_name, g.campaign_id
from unnest($1::text[], $2::text[]) as wanted (test_id, user_id)
join ab_test_assignments a on a.test_id = wanted.test_id and a.user_id = wanted.user_id
join ab_test_groups g on g.test_id = a.test_id and g.group_index = a.group_index;

-- name: insert_assignments :many
-- Adds first assignments and counts them in one slot; returns the pairs that were added. A pair that another
-- transaction has added, or is about to, is left out.
with added as (
    insert into ab_test_assignments (test_id, user_id, group_index, epoch, propensity, assigned_at)
    -- One order everywhere, so that concurrent batches wait for each other and never in a circle.
    select n.test_id, n.user_id, n.group_index, n.epoch, n.propensity, $6
    from unnest($1::text[], $2::text[], $3::smallint[], $4::integer[], $5::double precision[])
        as n (test_id, user_id, group_index, epoch, propensity)
    order by n.test_id, n.user_id
    on conflict on constraint ab_test_assignments_pkey do nothing
    returning test_id, user_id, epoch, group_index
),
counted as (
    insert into ab_test_group_counters as c (test_id, epoch, group_index, slot, users)
    select test_id, epoch, group_index, $7::smallint, count(*)
    from added
    group by test_id, epoch, group_index
    order by test_id, epoch, group_index
    on conflict on constraint ab_test_group_counters_pkey do update set users = c.users + excluded.users
)
select test_id, user_id
from added;

-- name: list_group_users :many
-- Assigned users per group of a test, from the counters; groups without users are left out.
select group_index, sum(users)::bigint as users
from ab_test_group_counters
where test_id = $1
group by group_index;

-- name: list_outcomes :many
-- Assigned and converting users per weight epoch and group of a test, of those assigned until $2 (null: of all).
with last_conversions as (
    -- Some conversion after a user's assignment is the same as the last one being after it, so one row per user
    -- is enough.
    select g.group_index, e.user_id, max(e.event_at) as converted_at
    from ab_tests t
    join ab_test_groups g on g.test_id = t.test_id
    join analytics_v1.campaign_user_events e on e.campaign_id = g.campaign_id and e.event_at > t.created_at
    where t.test_id = $1 and e.event_type = 4
    group by g.group_index, e.user_id
),
counts as (
    select
        a.epoch, a.group_index, count(*) as users,
        count(*) filter (where c.converted_at > a.assigned_at) as conversions
    from ab_test_assignments a
    left join last_conversions c on c.user_id = a.user_id and c.group_index = a.group_index
    where a.test_id = $1 and ($2::timestamptz is null or a.assigned_at <= $2)
    group by a.epoch, a.group_index
)
select c.epoch, w.weights, c.group_index, c.users, c.conversions
from counts c
join ab_test_weight_epochs w on w.test_id = $1 and w.epoch = c.epoch
order by c.epoch, c.group_index;

-- name: fetch_horizon :one
-- When the last group of a test was assigned its $2-th user; null where one has fewer.
select case when count(*) = count(reached_at) then max(reached_at) end as reached_at
from ab_test_groups g
left join lateral (
    select a.assigned_at as reached_at
    from ab_test_assignments a
    where a.test_id = g.test_id and a.group_index = g.group_index
    order by a.assigned_at
    offset $2::bigint - 1
    limit 1
) as nth on true
where g.test_id = $1;

-- name: insert_final_result :many
-- Keeps the final result of a test unless one is kept; returns a row where it was.
insert into ab_test_results (
    test_id, result_number, is_final, analyzed_at, verdict, winner_index, recommendation, reasons, warnings,
    sample_ratio_p_value, sequential_sample_ratio_p_value
)
select
    $1, coalesce(max(result_number), 0) + 1, true, $2, $3, $4, $5, $6, $7, $8, $9
from ab_test_results
where test_id = $1
on conflict do nothing
returning result_number;

-- name: insert_group_results :exec
-- Keeps the groups' parts of a result; the arrays are in the groups' order.
insert into ab_test_group_results (
    test_id, result_number, group_index, users, conversions, method, statistic, p_value, log10_p_value,
    anytime_p_value, power, absolute_lift, absolute_lift_lower, absolute_lift_upper, relative_lift,
    relative_lift_lower, relative_lift_upper, anytime_relative_lift_lower, anytime_relative_lift_upper
)
select
    $1, $2, g.group_index, g.users, g.conversions, g.method, g.statistic, g.p_value, g.log10_p_value,
    g.anytime_p_value, g.power, g.absolute_lift, g.absolute_lift_lower, g.absolute_lift_upper, g.relative_lift,
    g.relative_lift_lower, g.relative_lift_upper, g.anytime_relative_lift_lower, g.anytime_relative_lift_upper
from unnest(
    $3::smallint[], $4::bigint[], $5::bigint[], $6::text[], $7::double precision[], $8::double precision[],
    $9::double precision[], $10::double precision[], $11::double precision[], $12::double precision[],
    $13::double precision[], $14::double precision[], $15::double precision[], $16::double precision[],
    $17::double precision[], $18::double precision[], $19::double precision[]
) as g (
    group_index, users, conversions, method, statistic, p_value, log10_p_value, anytime_p_value, power,
    absolute_lift, absolute_lift_lower, absolute_lift_upper, relative_lift, relative_lift_lower,
    relative_lift_upper, anytime_relative_lift_lower, anytime_relative_lift_upper
);

-- name: list_final_results :many
-- The final results that are kept of these tests.
select
    test_id, verdict, winner_index, recommendation, reasons, warnings, sample_ratio_p_value,
    sequential_sample_ratio_p_value
from ab_test_results
where test_id = any($1::text[]) and is_final;

-- name: list_final_group_results :many
-- The groups' parts of those results, in the groups' order.
select
    gr.test_id, gr.group_index, gr.users, gr.conversions, gr.method, gr.statistic, gr.p_value, gr.log10_p_value,
    gr.anytime_p_value, gr.power, gr.absolute_lift, gr.absolute_lift_lower, gr.absolute_lift_upper,
    gr.relative_lift, gr.relative_lift_lower, gr.relative_lift_upper, gr.anytime_relative_lift_lower,
    gr.anytime_relative_lift_upper
from ab_test_results r
join ab_test_group_results gr on gr.test_id = r.test_id and gr.result_number = r.result_number
where r.test_id = any($1::text[]) and r.is_final
order by gr.test_id, gr.group_index;
