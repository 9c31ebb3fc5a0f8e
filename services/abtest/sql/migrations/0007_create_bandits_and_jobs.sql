-- migrate:up

-- The tests whose weights follow their outcomes, and how; written with the test and never changed, but for the time
-- of the last refresh and its number.
create table abtest.ab_test_bandits (
    test_id text not null,
    exploration_floor double precision not null,
    refresh_interval_seconds integer not null,
    minimum_users_per_group bigint not null,
    stopping_gain double precision not null,
    stopping_probability double precision not null,
    step_number integer not null default 0,
    refreshed_at timestamptz,
    constraint ab_test_bandits_pkey primary key (test_id),
    constraint ab_test_bandits_test_fkey foreign key (test_id) references abtest.ab_tests (test_id),
    constraint ab_test_bandits_floor_check check (exploration_floor > 0 and exploration_floor <= 0.5),
    constraint ab_test_bandits_stopping_check check (stopping_probability between 0.5 and 0.999)
);

-- What a bandit saw and decided at each refresh, kept as it was; arrays are in the groups' order. The weights are the
-- propensities of who is assigned from then on. metric_values are null while
-- undefined, probabilities_best and leader_index while a group had too few users.
create table abtest.ab_test_bandit_steps (
    test_id text not null,
    step_number integer not null,
    decided_at timestamptz not null,
    epoch integer not null,
    weights_changed boolean not null,
    weights double precision[] not null,
    users bigint[] not null,
    metric_values double precision[],
    probabilities_best double precision[],
    leader_index smallint,
    probability_gain_is_small double precision,
    stopped boolean not null,
    reason text not null,
    constraint ab_test_bandit_steps_pkey primary key (test_id, step_number),
    constraint ab_test_bandit_steps_bandit_fkey foreign key (test_id) references abtest.ab_test_bandits (test_id)
);

-- One row per job: who runs it until when, when it is due, and what its last run said. A lease whose time is
-- over belongs to a lost replica; whoever takes it over resumes from the cursor.
create table abtest.jobs (
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

grant select, insert, update on abtest.ab_test_bandits to abtest;
grant select, insert on abtest.ab_test_bandit_steps to abtest;
grant select, insert, update, delete on abtest.jobs to abtest;
grant select on abtest.ab_test_bandits, abtest.ab_test_bandit_steps, abtest.jobs to reporting;

-- migrate:down
drop table abtest.jobs;
drop table abtest.ab_test_bandit_steps;
drop table abtest.ab_test_bandits;
