-- Statements of the versions of models.

-- name: fetch_newest_version :one
-- The highest version a model ever had, 0 for none.
select coalesce(max(version), 0)::bigint as version
from ml_models
where model_name = $1;

-- name: list_known_versions :many
-- Every version that a model ever had.
select version
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
    serving_parameters, calibration
from ml_models
where model_name = $1 and version = $2;

-- name: fetch_model_reference :one
-- What the drift of a version is measured against, null for one from before it was kept.
select reference
from ml_models
where model_name = $1 and version = $2;

-- name: list_models :many
-- At most $4 versions before $2, newest first: those in one of the statuses $3, or in any where that is empty.
select
    version, status, status_reason, status_changed_at, code_version, trained_at, training_seconds, first_day,
    split_day, end_day, fitted_rows, held_out_rows, views, conversions, r2_score, mae, response_r2_score,
    global_mean_r2_score, global_mean_mae, type_mean_r2_score, type_mean_mae, noise_ceiling, live_r2_score,
    parity_error, files_removed_at, is_rolled_back
from ml_models
where model_name = $1 and version < $2 and (cardinality($3::text[]) = 0 or status = any ($3::text[]))
order by version desc
limit $4;

-- name: fetch_model_summary :one
-- One version, without what serving needs of it.
select
    version, status, status_reason, status_changed_at, code_version, trained_at, training_seconds, first_day,
    split_day, end_day, fitted_rows, held_out_rows, views, conversions, r2_score, mae, response_r2_score,
    global_mean_r2_score, global_mean_mae, type_mean_r2_score, type_mean_mae, noise_ceiling, live_r2_score,
    parity_error, files_removed_at, is_rolled_back, calibration
from ml_models
where model_name = $1 and version = $2;

-- name: fetch_last_retired_version :one
-- The version other than $2 (null: any) that was live last before the one that is; where $3, of those alone that nobody
-- went back from and that have their files. What was live when goes by the numbers of changes, whatever the clocks of
-- replicas say; a version that none tells of was live before those they tell of.
with last_times as (
    select version, max(change_number) as change_number
    from (
        select to_version as version, change_number
        from model_changes
        where model_name = $1
        union all
        select from_version, change_number - 1
        from model_changes
        where model_name = $1
    ) told
    group by version
)
select m.version
from ml_models m
left join last_times t on t.version = m.version
where
    m.model_name = $1 and m.status = 'retired' and m.version is distinct from $2::bigint
    and (not $3::boolean or (not m.is_rolled_back and m.files_removed_at is null))
order by coalesce(t.change_number, 0) desc, m.status_changed_at desc, m.version desc
limit 1;

-- name: note_removed_files :exec
-- Keep that the files of some versions are gone, and with them what serving and drift needed: RollbackModel refuses
-- them, whatever the repository holds.
update ml_models
set files_removed_at = $3, serving_parameters = '{}', reference = null
where model_name = $1 and version = any ($2::bigint[]);

-- name: upsert_model_drift :exec
-- Keep what the days before $3 say of a version; measured again, the later one counts.
insert into model_drift (model_name, version, end_day, measured_at, verdict, report)
values ($1, $2, $3, $4, $5, $6::jsonb)
on conflict (model_name, version, end_day) do update
set measured_at = excluded.measured_at, verdict = excluded.verdict, report = excluded.report;

-- name: fetch_model_drift :one
-- What was measured last of a version.
select report
from model_drift
where model_name = $1 and version = $2
order by end_day desc
limit 1;

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
    noise_ceiling, live_r2_score, parity_error, serving_parameters, calibration, reference, training_id
)
values (
    $1, $2, $3, $4, $5, $6, $5, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
    $23, $24, $25::jsonb, $26::jsonb, $27::jsonb, $28
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
-- Reject versions that were trained and never published: what was to publish them is gone. One whose training still
-- runs is left to it.
update ml_models
set status = 'rejected', status_reason = $2, status_changed_at = $3
where model_name = $1 and status = 'candidate' and not exists (
    select 1
    from trainings
    where trainings.training_id = ml_models.training_id and trainings.state = 'running'
);

-- name: reject_candidate_of :exec
-- Reject the version that training $4 made, if it made one and that was not published.
update ml_models
set status = 'rejected', status_reason = $2, status_changed_at = $3
where model_name = $1 and status = 'candidate' and training_id = $4;

-- name: retire_live_model :exec
-- Take the live version out of service; $4: because an earlier one does better.
update ml_models
set status = 'retired', status_reason = $2, status_changed_at = $3, is_rolled_back = $4
where model_name = $1 and status = 'live';

-- name: put_model_live :one
-- Call a version live, if it still stands where it stood ($3) when that was decided.
update ml_models
set status = 'live', status_reason = $4, status_changed_at = $5, is_rolled_back = false
where model_name = $1 and version = $2 and status = $3
returning version;

-- name: update_model_status :exec
-- Set where a version stands, and why.
update ml_models
set status = $3, status_reason = $4, status_changed_at = $5
where model_name = $1 and version = $2;

-- name: insert_model_change :exec
-- Keep that the version $3 went live, after $2 (null: none was); only for who holds the right to publish, so that no two
-- changes get one number.
insert into model_changes (
    model_name, change_number, from_version, to_version, kind, cause, actor, comment, reason, changed_at, training_id
)
select $1, coalesce(max(change_number), 0) + 1, $2, $3, $4, $5, $6, $7, $8, $9, $10
from model_changes
where model_name = $1;

-- name: list_model_changes :many
-- At most $3 exchanges of the live version with a number below $2, the latest first, each with when the next one came.
select
    c.change_number, c.kind, c.cause, c.actor, c.comment, c.reason, c.from_version, c.to_version, c.changed_at,
    later.changed_at as ended_at, c.training_id, c.is_reconstructed
from model_changes c
left join model_changes later on later.model_name = c.model_name and later.change_number = c.change_number + 1
where c.model_name = $1 and c.change_number < $2
order by c.change_number desc
limit $3;
