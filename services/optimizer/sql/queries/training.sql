-- Statements of trainings. Own tables are unqualified; a neighbour's are its published views.

-- name: try_lock_training :one
-- Whether this transaction now holds the right to train; it ends with the transaction, however that ends.
select pg_try_advisory_xact_lock(hashtextextended('optimizer.training', 0)) as locked;

-- name: limit_lock_waits :exec
-- End each wait of this transaction for a lock after $1 milliseconds.
select set_config('lock_timeout', $1, true);

-- name: lock_publication :exec
-- Wait for the right to change which version is live, or which are served; it ends with the transaction.
select pg_advisory_xact_lock(hashtextextended('optimizer.publication', 0));

-- name: insert_training :exec
-- Keep that a training begins.
insert into trainings (
    training_id, state, cause, actor, comment, end_day, stage, progress, started_at, heartbeat_at
)
values ($1, 'running', $2, $3, $4, $5, 'start', 0, $6, $6);

-- name: fail_lost_trainings :exec
-- End the trainings whose replica is gone; only for who holds the right to train, so that none of them runs.
update trainings
set state = 'failed', ended_at = $1, reason = 'TRAINING_STOPPED', message = $2
where state = 'running';

-- name: keep_training :one
-- Keep how far a training is, and say who asked to stop it, if anybody did; nothing where it does not run any more.
update trainings
set stage = $2, progress = $3, heartbeat_at = $4
where training_id = $1 and state = 'running'
returning cancel_requested_at, cancel_actor, cancel_comment;

-- name: lock_running_training :one
-- Whether a training runs; if so it is not taken for lost before this transaction has ended.
select training_id
from trainings
where training_id = $1 and state = 'running'
for share;

-- name: end_training :one
-- Keep what came of a training that runs; one that made a version is done.
update trainings
set state = $2, ended_at = $3, model_name = $4, model_version = $5, reason = $6, message = $7,
    stage = case when $5::bigint is null then stage else 'done' end,
    progress = case when $5::bigint is null then progress else 1 end
where training_id = $1 and state = 'running'
returning training_id;

-- name: cancel_training :exec
-- Ask a training that runs to stop; the first who asks is kept.
update trainings
set cancel_requested_at = $2, cancel_actor = $3, cancel_comment = $4
where training_id = $1 and state = 'running' and cancel_requested_at is null;

-- name: fetch_training :one
-- One training.
select
    training_id, state, cause, actor, comment, end_day, stage, progress, started_at, heartbeat_at, ended_at,
    cancel_requested_at, model_version, reason, message
from trainings
where training_id = $1;

-- name: list_trainings :many
-- At most $3 trainings before the one that began at $1 and has the id $2, newest first.
select
    training_id, state, cause, actor, comment, end_day, stage, progress, started_at, heartbeat_at, ended_at,
    cancel_requested_at, model_version, reason, message
from trainings
where (started_at, training_id) < ($1, $2)
order by started_at desc, training_id desc
limit $3;

-- name: fetch_last_judged_day :one
-- The latest day before which a training has learned all there was, null before the first one.
select max(end_day) as end_day
from trainings
where state in ('promoted', 'rejected');
