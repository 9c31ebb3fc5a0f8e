-- Jobs of a service: its table `jobs`, found by the search path. Every time is an argument, so that all of a
-- run's times are of one clock.

-- name: register_job :exec
-- Keep a job $1 with its schedule $2, first due at $3; a known job keeps its times, but where its schedule
-- changed it is due no later than $3.
insert into jobs (job_name, schedule, next_run_at)
values ($1::text, $2::text, $3::timestamptz)
on conflict (job_name) do update
set schedule = excluded.schedule, next_run_at = least(jobs.next_run_at, excluded.next_run_at)
where jobs.schedule <> excluded.schedule;

-- name: fetch_database_time :one
-- The database's clock, which all replicas share.
select clock_timestamp() as now;

-- name: claim_job :one
-- Take the lease of one of the jobs $1 for the run $2 from $3 to $4: of those due the one due longest. A lease
-- that is taken over from a holder who neither finished nor renewed it counts as a failed run.
update jobs
set
    lease_holder = $2::text,
    lease_until = $4::timestamptz,
    last_started_at = $3::timestamptz,
    run_count = run_count + 1,
    consecutive_failures = consecutive_failures + (lease_holder is not null)::integer,
    last_error = case when lease_holder is null then last_error else $5::text end
where job_name = (
    select job_name
    from jobs
    where
        job_name = any($1::text[])
        and next_run_at <= $3::timestamptz
        and (lease_until is null or lease_until <= $3::timestamptz)
    order by next_run_at, job_name
    limit 1
    for update skip locked
)
returning job_name, cursor, consecutive_failures;

-- name: renew_lease :one
-- Keep the lease of the job $1 for the run $2 until $3, with the cursor $4 unless that is null; no row where
-- the run has lost it.
update jobs
set lease_until = $3::timestamptz, cursor = coalesce($4::jsonb, cursor)
where job_name = $1::text and lease_holder = $2::text
returning job_name;

-- name: finish_job :one
-- End the run $2 of the job $1 well, at $3 with the result $4, due again at $5, or now if it was asked for while
-- it ran; no row where the run has lost its lease.
update jobs
set
    lease_holder = null,
    lease_until = null,
    last_finished_at = $3::timestamptz,
    last_succeeded_at = $3::timestamptz,
    last_result = $4::text,
    last_error = '',
    consecutive_failures = 0,
    cursor = '{}',
    next_run_at = case
        when next_run_at > last_started_at then least(next_run_at, $5::timestamptz) else $5::timestamptz
    end
where job_name = $1::text and lease_holder = $2::text
returning job_name;

-- name: fail_job :one
-- End the run $2 of the job $1 badly, at $3 with the error $4, due again at $5; the cursor stays. No row where
-- the run has lost its lease.
update jobs
set
    lease_holder = null,
    lease_until = null,
    last_finished_at = $3::timestamptz,
    last_error = $4::text,
    consecutive_failures = consecutive_failures + 1,
    next_run_at = case
        when next_run_at > last_started_at then least(next_run_at, $5::timestamptz) else $5::timestamptz
    end
where job_name = $1::text and lease_holder = $2::text
returning job_name;

-- name: release_job :one
-- Give the lease of the run $2 of the job $1 back before its end: it stays due, and its cursor stays.
update jobs
set lease_holder = null, lease_until = null
where job_name = $1::text and lease_holder = $2::text
returning job_name;

-- name: request_job :one
-- Have the job $1 due at $2 at the latest; no row for an unknown job.
update jobs
set next_run_at = case
    when lease_holder is null then least(next_run_at, $2::timestamptz) else $2::timestamptz
end
where job_name = $1::text
returning
    job_name, schedule, next_run_at, lease_until, lease_holder, last_started_at, last_finished_at,
    last_succeeded_at, last_result, last_error, consecutive_failures, run_count;

-- name: list_jobs :many
-- The jobs $1 by name.
select
    job_name, schedule, next_run_at, lease_until, lease_holder, last_started_at, last_finished_at,
    last_succeeded_at, last_result, last_error, consecutive_failures, run_count
from jobs
where job_name = any($1::text[])
order by job_name;
