-- migrate:up

-- One row per job: who runs it until when, when it is due, and what its last run said. A lease whose time is
-- over belongs to a lost replica; whoever takes it over resumes from the cursor.
create table optimizer.jobs (
    job_name text not null,
    schedule text not null,
    next_run_at timestamptz not null,
    lease_until timestamptz,
    lease_holder text,
    last_started_at timestamptz,
    last_finished_at timestamptz,
    last_succeeded_at timestamptz,
    last_result text not null default '',
    last_error text not null default '',
    consecutive_failures integer not null default 0,
    run_count bigint not null default 0,
    cursor jsonb not null default '{}',
    constraint jobs_pkey primary key (job_name),
    constraint jobs_lease_is_whole check ((lease_until is null) = (lease_holder is null))
);

grant select, insert, update, delete on optimizer.jobs to optimizer;
grant select on optimizer.jobs to reporting;

-- migrate:down
drop table optimizer.jobs;
