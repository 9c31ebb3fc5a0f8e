-- What is recommended for campaigns, and what was decided about it.

-- name: lock_recommendations :exec
-- Makes a campaign's recommendations this transaction's to change.
select pg_advisory_xact_lock(hashtextextended('optimizer.recommendations.' || $1::text, 0));

-- name: list_current_optimizations :many
-- A campaign's recommendations that wait to be decided or applied.
select
    optimization_id, campaign_id, optimization_type, status, recommendation, inputs_key, created_at, expires_at,
    decided_at, applied_at
from campaign_optimizations
where campaign_id = $1 and status in ('open', 'accepted');

-- name: lock_current_optimizations :many
-- A campaign's recommendations that wait to be decided or applied, this transaction's to change: one that is being
-- decided is waited for, and is no more among them afterwards.
select
    optimization_id, campaign_id, optimization_type, status, recommendation, inputs_key, created_at, expires_at,
    decided_at, applied_at
from campaign_optimizations
where campaign_id = $1 and status in ('open', 'accepted')
order by optimization_id
for update;

-- name: list_closed_optimizations :many
-- A campaign's recommendations that were dismissed or applied and would stand at $2, the latest decided first.
select
    optimization_id, campaign_id, optimization_type, status, recommendation, inputs_key, created_at, expires_at,
    decided_at, applied_at
from campaign_optimizations
where campaign_id = $1 and status in ('dismissed', 'applied') and expires_at > $2
order by decided_at desc, optimization_id;

-- name: lock_optimization :one
-- A recommendation, this transaction's to change.
select
    optimization_id, campaign_id, optimization_type, status, recommendation, inputs_key, created_at, expires_at,
    decided_at, applied_at
from campaign_optimizations
where optimization_id = $1::uuid
for update;

-- name: insert_optimization :exec
-- Keeps a new recommendation.
insert into campaign_optimizations (
    optimization_id, campaign_id, optimization_type, status, recommendation, evidence, expected_improvement,
    confidence, model_name, model_version, created_at, expires_at, inputs_key, choice, refreshed_at
)
values ($1::uuid, $2, $3, $4, $5::jsonb, $6::jsonb, $7, $8, $9, $10, $11, $12, $13, $14, $11);

-- name: refresh_optimization :one
-- Gives a recommendation that says the same its new figures; no row where it waits for a decision no more.
update campaign_optimizations
set recommendation = $2::jsonb, evidence = $3::jsonb, expected_improvement = $4, confidence = $5, model_name = $6,
    model_version = $7, expires_at = $8, inputs_key = $9, refreshed_at = $10
where optimization_id = $1::uuid and status in ('open', 'accepted')
returning optimization_id;

-- name: update_optimization_status :one
-- Changes where a recommendation stands that waits to be decided or applied; no row for any other.
update campaign_optimizations
set status = $2, decided_at = $3, applied_at = $4
where optimization_id = $1::uuid and status in ('open', 'accepted')
returning optimization_id;

-- name: insert_optimization_decision :exec
-- Adds what was done with a recommendation; needs a lock on its row.
insert into campaign_optimization_decisions (
    optimization_id, decision_number, action, actor, comment, decided_at
)
select $1::uuid, coalesce(max(decision_number), 0) + 1, $2, $3, $4, $5
from campaign_optimization_decisions
where optimization_id = $1::uuid;

-- name: list_optimization_decisions :many
-- What was done with a recommendation, the oldest first.
select action, actor, comment, decided_at
from campaign_optimization_decisions
where optimization_id = $1::uuid
order by decision_number;

-- name: list_expired_optimizations :many
-- At most $2 recommendations that nobody decided or applied by $1, this transaction's to change. What somebody else
-- is changing is left to the next time: who waits for nobody can be in nobody's way.
select optimization_id
from campaign_optimizations
where status in ('open', 'accepted') and expires_at <= $1
order by expires_at
limit $2
for update skip locked;

-- name: list_verdicts :many
-- What the data spoke against in the campaign $1, where it was asked from the inputs $2.
select optimization_type, reason, message
from campaign_optimization_verdicts
where campaign_id = $1 and inputs_key = $2;

-- name: upsert_verdict :exec
-- Keeps what the data spoke against, in place of what it said of earlier inputs.
insert into campaign_optimization_verdicts (campaign_id, optimization_type, inputs_key, reason, message, judged_at)
values ($1, $2, $3, $4, $5, $6)
on conflict on constraint campaign_optimization_verdicts_pkey do update set
    inputs_key = excluded.inputs_key,
    reason = excluded.reason,
    message = excluded.message,
    judged_at = excluded.judged_at;
