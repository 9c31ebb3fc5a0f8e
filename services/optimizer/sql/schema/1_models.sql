-- The optimizer's schema as a whole, for reading; the migrations make it, and a test proves the two equal.

-- Versions of trained models. What serving needs beside the model file is kept in serving_parameters.
-- calibration and reference are documents that only this service reads: how predictions compared with what came,
-- and what drift is measured against. files_removed_at: when the version's folder was removed from the model
-- repository, and serving_parameters and reference with it: it is never live again, whatever folder comes back.
-- training_id: which training made it, null for one made by hand. is_rolled_back: an earlier version took its place, so
-- that going back does not return to it by itself.
create table optimizer.ml_models (
    model_name text not null,
    version bigint not null,
    status text not null,
    status_reason text not null,
    status_changed_at timestamptz not null,
    code_version text not null,
    trained_at timestamptz not null,
    training_seconds double precision not null,
    first_day date not null,
    split_day date not null,
    end_day date not null,
    fitted_rows bigint not null,
    held_out_rows bigint not null,
    views bigint not null,
    conversions bigint not null,
    r2_score double precision,
    mae double precision not null,
    response_r2_score double precision,
    global_mean_r2_score double precision,
    global_mean_mae double precision not null,
    type_mean_r2_score double precision,
    type_mean_mae double precision not null,
    noise_ceiling double precision,
    live_r2_score double precision,
    parity_error double precision not null,
    serving_parameters jsonb not null,
    calibration jsonb,
    reference jsonb,
    files_removed_at timestamptz,
    training_id uuid,
    is_rolled_back boolean not null default false,
    constraint ml_models_pkey primary key (model_name, version),
    constraint ml_models_version_positive check (version > 0),
    constraint ml_models_status_known check (status in ('candidate', 'live', 'rejected', 'retired')),
    constraint ml_models_days_in_order check (first_day < split_day and split_day < end_day)
);

-- For fetch_live_version and fetch_live_model; and no two versions of a model are ever live.
create unique index ml_models_one_live_idx on optimizer.ml_models (model_name) where status = 'live';

-- For reject_interrupted_models: the few versions that wait for the model server.
create index ml_models_candidate_idx on optimizer.ml_models (model_name, version) where status = 'candidate';

create table optimizer.model_feature_importance (
    model_name text not null,
    version bigint not null,
    feature_name text not null,
    permutation_importance double precision not null,
    impurity_importance double precision not null,
    constraint model_feature_importance_pkey primary key (model_name, version, feature_name),
    constraint model_feature_importance_model_fkey foreign key (model_name, version)
        references optimizer.ml_models (model_name, version) on delete cascade
);

grant select, insert, update, delete on optimizer.ml_models, optimizer.model_feature_importance to optimizer;
grant select on optimizer.ml_models, optimizer.model_feature_importance to reporting;

-- Which version was live when: a row per exchange of the live version, numbered from 1 without gaps. Written only by
-- insert, in the transaction of the exchange, and kept for good, as outcomes are. from_version is null where none was
-- live, or nobody kept it; cause is null, and actor and comment are empty, where nobody kept them.
create table optimizer.model_changes (
    model_name text not null,
    change_number bigint not null,
    kind text not null,
    cause text,
    actor text not null,
    comment text not null,
    reason text not null,
    from_version bigint,
    to_version bigint not null,
    changed_at timestamptz not null,
    training_id uuid,
    is_reconstructed boolean not null default false,
    constraint model_changes_pkey primary key (model_name, change_number),
    constraint model_changes_number_positive check (change_number > 0),
    constraint model_changes_kind_known check (kind in ('promotion', 'rollback', 'return')),
    constraint model_changes_cause_known check (cause in ('request', 'daily', 'drift')),
    constraint model_changes_cause_kept check (is_reconstructed or cause is not null),
    constraint model_changes_versions_differ check (from_version <> to_version),
    constraint model_changes_to_fkey foreign key (model_name, to_version)
        references optimizer.ml_models (model_name, version),
    constraint model_changes_from_fkey foreign key (model_name, from_version)
        references optimizer.ml_models (model_name, version)
);

grant select, insert on optimizer.model_changes to optimizer;
grant select on optimizer.model_changes to reporting;
