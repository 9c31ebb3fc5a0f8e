-- One row per attempt to train, whatever came of it. A row that says `running` and whose heartbeat has stopped
-- belongs to a lost replica.
create table optimizer.trainings (
    training_id uuid not null,
    state text not null,
    cause text not null,
    actor text not null,
    comment text not null,
    end_day date not null,
    stage text not null,
    progress double precision not null,
    started_at timestamptz not null,
    heartbeat_at timestamptz not null,
    ended_at timestamptz,
    cancel_requested_at timestamptz,
    cancel_actor text not null default '',
    cancel_comment text not null default '',
    model_name text,
    model_version bigint,
    reason text not null default '',
    message text not null default '',
    constraint trainings_pkey primary key (training_id),
    constraint trainings_state_known check (
        state in ('running', 'promoted', 'rejected', 'refused', 'cancelled', 'failed')
    ),
    constraint trainings_cause_known check (cause in ('request', 'daily', 'drift')),
    constraint trainings_progress_is_share check (progress between 0 and 1),
    constraint trainings_ended_unless_running check ((state = 'running') = (ended_at is null)),
    constraint trainings_model_fkey foreign key (model_name, model_version)
        references optimizer.ml_models (model_name, version)
);

-- Trainings, newest first.
create index trainings_started_idx on optimizer.trainings (started_at desc, training_id desc);

-- For fail_lost_trainings: at most a few.
create index trainings_running_idx on optimizer.trainings (started_at) where state = 'running';

-- What the days since its training said of a live version, each time that was measured.
create table optimizer.model_drift (
    model_name text not null,
    version bigint not null,
    end_day date not null,
    measured_at timestamptz not null,
    verdict text not null,
    report jsonb not null,
    constraint model_drift_pkey primary key (model_name, version, end_day),
    constraint model_drift_verdict_known check (verdict in ('insufficient', 'stable', 'drifted', 'degraded')),
    constraint model_drift_model_fkey foreign key (model_name, version)
        references optimizer.ml_models (model_name, version) on delete cascade
);

grant select, insert, update, delete on optimizer.trainings, optimizer.model_drift to optimizer;
grant select on optimizer.trainings, optimizer.model_drift to reporting;
