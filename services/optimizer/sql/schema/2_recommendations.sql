-- What was recommended for a campaign, on what evidence, and what was decided about it. A recommendation is kept
-- while what it was made from (inputs_key) stands, and made again otherwise: in place where it still says the same
-- (choice), else a new one takes its place and it is superseded. The outcome of what was applied is counted until it is
-- final (outcome_measured_at: last). Closed ones are forgotten after a while, with their decisions; outcomes stay.
create table optimizer.campaign_optimizations (
    optimization_id uuid not null,
    campaign_id text not null,
    optimization_type text not null,
    status text not null,
    recommendation jsonb not null,
    evidence jsonb not null,
    expected_improvement double precision,
    confidence double precision,
    model_name text,
    model_version bigint,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    decided_at timestamptz,
    inputs_key text not null default '',
    choice text not null default '',
    refreshed_at timestamptz,
    applied_at timestamptz,
    outcome_measured_at timestamptz,
    is_outcome_final boolean not null default false,
    constraint campaign_optimizations_pkey primary key (optimization_id),
    constraint campaign_optimizations_type_known check (
        optimization_type in ('offer_amount', 'timing', 'segment', 'channel')
    ),
    constraint campaign_optimizations_status_known check (
        status in ('open', 'accepted', 'dismissed', 'applied', 'expired', 'superseded')
    ),
    constraint campaign_optimizations_applied_has_time check (status <> 'applied' or applied_at is not null),
    constraint campaign_optimizations_final_was_applied check (not is_outcome_final or status = 'applied'),
    constraint campaign_optimizations_confidence_is_probability check (confidence between 0 and 1),
    constraint campaign_optimizations_expires_later check (expires_at > created_at),
    constraint campaign_optimizations_model_fkey foreign key (model_name, model_version)
        references optimizer.ml_models (model_name, version)
);

-- A campaign's recommendations, newest first.
create index campaign_optimizations_campaign_idx on optimizer.campaign_optimizations
    (campaign_id, created_at desc);

-- For list_expired_optimizations: open and accepted recommendations whose time has passed.
create index campaign_optimizations_expiry_idx on optimizer.campaign_optimizations (expires_at)
    where status in ('open', 'accepted');

-- For list_current_optimizations; and no campaign has two of a type that wait to be decided or applied.
create unique index campaign_optimizations_current_key on optimizer.campaign_optimizations
    (campaign_id, optimization_type)
    where status in ('open', 'accepted');

-- For list_unmeasured_optimizations: what was applied and is not measured to its end, counted longest ago first.
create index campaign_optimizations_unmeasured_idx on optimizer.campaign_optimizations
    (outcome_measured_at nulls first, applied_at)
    where status = 'applied' and not is_outcome_final;

-- For delete_closed_optimizations.
create index campaign_optimizations_closed_idx on optimizer.campaign_optimizations (decided_at)
    where status in ('dismissed', 'applied', 'expired', 'superseded');

-- Who did what with a recommendation, and when. Written only by insert; goes with its recommendation.
create table optimizer.campaign_optimization_decisions (
    optimization_id uuid not null,
    decision_number integer not null,
    action text not null,
    actor text not null,
    comment text not null,
    decided_at timestamptz not null,
    constraint campaign_optimization_decisions_pkey primary key (optimization_id, decision_number),
    constraint campaign_optimization_decisions_optimization_fkey foreign key (optimization_id)
        references optimizer.campaign_optimizations (optimization_id) on delete cascade,
    constraint campaign_optimization_decisions_action_known check (
        action in ('create', 'accept', 'dismiss', 'apply', 'expire', 'supersede')
    )
);

grant select, insert on optimizer.campaign_optimization_decisions to optimizer;
grant select on optimizer.campaign_optimization_decisions to reporting;

-- What the data spoke against, and from which inputs (inputs_key): while these stand it is not asked again.
create table optimizer.campaign_optimization_verdicts (
    campaign_id text not null,
    optimization_type text not null,
    inputs_key text not null,
    reason text not null,
    message text not null,
    judged_at timestamptz not null,
    constraint campaign_optimization_verdicts_pkey primary key (campaign_id, optimization_type),
    constraint campaign_optimization_verdicts_type_known check (
        optimization_type in ('offer_amount', 'timing', 'segment', 'channel')
    )
);

-- For delete_outdated_verdicts.
create index campaign_optimization_verdicts_judged_idx on optimizer.campaign_optimization_verdicts (judged_at);

grant select, insert, update, delete on optimizer.campaign_optimization_verdicts to optimizer;
grant select on optimizer.campaign_optimization_verdicts to reporting;

-- What any applied recommendation did, and every ended A/B test: predicted beside observed, and what was before.
-- offer_micros is null where the recommendation was not of an offer, or nobody knows the offer; optimization_id where
-- the recommendation is forgotten. worth, concurrent_worth and promise are documents that only this service reads: what
-- was earned after and before, beside the previous offer on the same days, and what was promised; null where that cannot
-- be said, or was not kept.
create table optimizer.offer_optimization_history (
    history_id uuid not null,
    campaign_id text not null,
    optimization_id uuid,
    source text not null,
    source_id text,
    previous_offer_micros bigint,
    offer_micros bigint,
    predicted_conversion_rate double precision,
    observed_views bigint not null,
    observed_conversions bigint not null,
    applied_at timestamptz not null,
    measured_at timestamptz not null,
    optimization_type text not null default 'offer_amount',
    choice text not null default '',
    predicted_lower double precision,
    predicted_upper double precision,
    expected_effect double precision,
    previous_views bigint,
    previous_conversions bigint,
    relative_lift double precision,
    relative_lift_lower double precision,
    relative_lift_upper double precision,
    window_ends_at timestamptz,
    is_final boolean not null default true,
    observed_lower double precision,
    observed_upper double precision,
    previous_lower double precision,
    previous_upper double precision,
    worth jsonb,
    concurrent_worth jsonb,
    promise jsonb,
    constraint offer_optimization_history_pkey primary key (history_id),
    constraint offer_optimization_history_optimization_fkey foreign key (optimization_id)
        references optimizer.campaign_optimizations (optimization_id) on delete set null,
    constraint offer_optimization_history_source_key unique (source, source_id),
    constraint offer_optimization_history_source_known check (source in ('recommendation', 'ab_test')),
    constraint offer_optimization_history_offers_not_negative check (
        previous_offer_micros >= 0 and offer_micros >= 0
    ),
    constraint offer_optimization_history_counts_not_negative check (
        observed_views >= 0 and observed_conversions >= 0
    ),
    constraint offer_optimization_history_type_known check (
        optimization_type in ('offer_amount', 'timing', 'segment', 'channel')
    ),
    constraint offer_optimization_history_previous_not_negative check (
        previous_views >= 0 and previous_conversions >= 0
    ),
    constraint offer_optimization_history_measured_later check (measured_at >= applied_at)
);

-- For list_offer_outcomes: a campaign's, or everybody's, the latest applied first.
create index offer_optimization_history_campaign_idx on optimizer.offer_optimization_history
    (campaign_id, applied_at desc, history_id desc);
create index offer_optimization_history_applied_idx on optimizer.offer_optimization_history
    (applied_at desc, history_id desc);

-- For the key above: whose outcome loses its recommendation.
create index offer_optimization_history_optimization_idx on optimizer.offer_optimization_history (optimization_id)
    where optimization_id is not null;

-- How likely a user is to visit a merchant, with the reasons in words. All events of the user that came in before
-- received_until (the database's clock) are held; null: nobody knows.
create table optimizer.user_merchant_affinity (
    user_id text not null,
    merchant_id integer not null,
    affinity_score double precision not null,
    reasons text[] not null,
    computed_at timestamptz not null,
    model_version bigint,
    is_returning boolean,
    distance_km double precision,
    received_until timestamptz,
    constraint user_merchant_affinity_pkey primary key (user_id, merchant_id),
    constraint user_merchant_affinity_score_is_probability check (affinity_score between 0 and 1)
);

-- A user's merchants, best first.
create index user_merchant_affinity_rank_idx on optimizer.user_merchant_affinity
    (user_id, affinity_score desc);

grant select, insert, update, delete on
    optimizer.campaign_optimizations, optimizer.offer_optimization_history,
    optimizer.user_merchant_affinity
    to optimizer;
grant select on
    optimizer.campaign_optimizations, optimizer.offer_optimization_history,
    optimizer.user_merchant_affinity
    to reporting;
