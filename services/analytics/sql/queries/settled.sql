-- Up to when events are all in, for the jobs that count each once.

-- name: fetch_settled_moment :one
-- The database's time, and the moment before which everything received is committed: received_at is the time
-- at which a transaction begins, so that nothing can still come in from before the oldest one under way.
select
    clock_timestamp() as database_time,
    least(now() - $1::interval, min(xact_start)) as settled_at
from pg_stat_activity
where datname = current_database() and usename = current_user and pid <> pg_backend_pid()
    and xact_start is not null;
