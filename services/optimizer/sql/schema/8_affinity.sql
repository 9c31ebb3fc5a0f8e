-- What was fitted of users' visits to merchants. parameters is a document that only this service reads; the scores
-- are of the held-out week, the loss of a model by frequency alone beside. Kept users' scores hold all events that
-- came in before refreshed_until. A scoring under way began at pass_started_at and has come up to pass_user_id; it is of
-- everybody where refreshed_until is null, and of the users of whom something came in otherwise.
create table optimizer.affinity_models (
    version bigint not null,
    status text not null,
    status_reason text not null,
    fitted_at timestamptz not null,
    end_day date not null,
    users bigint not null,
    visits bigint not null,
    log_loss double precision not null,
    frequency_log_loss double precision not null,
    calibration_error double precision not null,
    recall_at_three double precision,
    frequency_recall_at_three double precision,
    popularity_recall_at_three double precision,
    parameters jsonb not null,
    refreshed_until timestamptz,
    pass_started_at timestamptz,
    pass_user_id text not null default '',
    constraint affinity_models_pkey primary key (version),
    constraint affinity_models_version_positive check (version > 0),
    constraint affinity_models_status_known check (status in ('live', 'rejected', 'retired'))
);

-- For fetch_live_affinity_version; and no two are ever live.
create unique index affinity_models_one_live_idx on optimizer.affinity_models ((true)) where status = 'live';

-- The merchants that a version knows, and the shares of its users who visited in the window and in a week.
create table optimizer.affinity_merchants (
    version bigint not null,
    merchant_id integer not null,
    visitor_share double precision not null,
    weekly_share double precision not null,
    constraint affinity_merchants_pkey primary key (version, merchant_id),
    constraint affinity_merchants_version_fkey foreign key (version)
        references optimizer.affinity_models (version) on delete cascade
);

-- Merchants that share visitors, by a version: each with its most similar ones.
create table optimizer.merchant_similarities (
    version bigint not null,
    merchant_id integer not null,
    neighbour_id integer not null,
    similarity double precision not null,
    constraint merchant_similarities_pkey primary key (version, merchant_id, neighbour_id),
    constraint merchant_similarities_version_fkey foreign key (version)
        references optimizer.affinity_models (version) on delete cascade
);

grant select, insert, update, delete on
    optimizer.affinity_models, optimizer.affinity_merchants, optimizer.merchant_similarities
    to optimizer;
grant select on optimizer.affinity_models, optimizer.affinity_merchants, optimizer.merchant_similarities
    to reporting;
