-- name: insert_bandit :exec
-- Makes a test a bandit.
insert into ab_test_bandits (
    test_id, exploration_floor, refresh_interval_seconds, minimum_users_per_group, stopping_gain,
    stopping_probability
)
values ($1, $2, $3, $4, $5, $6);

-- name: fetch_bandit :one
-- How a test moves traffic, and when it last looked; no row where its weights are fixed.
select
    exploration_floor, refresh_interval_seconds, minimum_users_per_group, stopping_gain, stopping_probability,
    step_number, refreshed_at
from ab_test_bandits
where test_id = $1;

-- name: list_due_bandits :many
-- The running bandits whose refresh is due at $1, the one due longest first.
select b.test_id
from ab_test_bandits b
join ab_tests t on t.test_id = b.test_id
where
    t.status = 1
    and (b.refreshed_at is null or b.refreshed_at + b.refresh_interval_seconds * interval '1 second' <= $1)
order by b.refreshed_at nulls first, b.test_id;

-- name: advance_bandit :one
-- Counts a refresh at $3 that follows the one numbered $2; no row where another one came first.
update ab_test_bandits
set step_number = step_number + 1, refreshed_at = $3
where test_id = $1 and step_number = $2
returning step_number;

-- name: insert_bandit_step :exec
-- Keeps what a refresh saw and decided.
insert into ab_test_bandit_steps (
    test_id, step_number, decided_at, epoch, weights_changed, weights, users, metric_values, probabilities_best,
    leader_index, probability_gain_is_small, stopped, reason
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

-- name: list_bandit_steps :many
-- A page of a bandit's refreshes, the newest first, before the step numbered $2.
select
    step_number, decided_at, epoch, weights_changed, weights, users, metric_values, probabilities_best, leader_index,
    probability_gain_is_small, stopped, reason
from ab_test_bandit_steps
where test_id = $1 and step_number < $2
order by step_number desc
limit $3;
