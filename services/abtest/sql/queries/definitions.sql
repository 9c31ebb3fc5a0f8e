-- Tests as they are defined: groups, weight epochs, who asked for them.

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
