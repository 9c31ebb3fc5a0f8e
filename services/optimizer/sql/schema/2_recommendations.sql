-- What was recommended for a campaign, on what evidence, and what was decided about it.
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
    constraint campaign_optimizations_pkey primary key (optimization_id),
    constraint campaign_optimizations_type_known check (
        optimization_type in ('offer_amount', 'timing', 'segment', 'channel')
    ),
    constraint campaign_optimizations_status_known check (
        status in ('open', 'accepted', 'dismissed', 'applied', 'expired')
    ),
    constraint campaign_optimizations_confidence_is_probability check (confidence between 0 and 1),
    constraint campaign_optimizations_expires_later check (expires_at > created_at),
    constraint campaign_optimizations_model_fkey foreign key (model_name, model_version)
        references optimizer.ml_models (model_name, version)
);

-- A campaign's recommendations, newest first.
create index campaign_optimizations_campaign_idx on optimizer.campaign_optimizations
    (campaign_id, created_at desc);

-- Open recommendations whose time has passed.
create index campaign_optimizations_expiry_idx on optimizer.campaign_optimizations (expires_at)
    where status = 'open';

-- What an applied offer did afterwards: predicted beside observed. Later trainings learn from it.
create table optimizer.offer_optimization_history (
    history_id uuid not null,
    campaign_id text not null,
    optimization_id uuid,
    source text not null,
    source_id text,
    previous_offer_micros bigint,
    offer_micros bigint not null,
    predicted_conversion_rate double precision,
    observed_views bigint not null,
    observed_conversions bigint not null,
    applied_at timestamptz not null,
    measured_at timestamptz not null,
    constraint offer_optimization_history_pkey primary key (history_id),
    constraint offer_optimization_history_optimization_fkey foreign key (optimization_id)
        references optimizer.campaign_optimizations (optimization_id),
    constraint offer_optimization_history_source_key unique (source, source_id),
    constraint offer_optimization_history_source_known check (source in ('recommendation', 'ab_test')),
    constraint offer_optimization_history_offers_not_negative check (
        previous_offer_micros >= 0 and offer_micros >= 0
    ),
    constraint offer_optimization_history_counts_not_negative check (
        observed_views >= 0 and observed_conversions >= 0
    ),
    constraint offer_optimization_history_measured_later check (measured_at >= applied_at)
);

-- A campaign's measured offers, newest first.
create index offer_optimization_history_campaign_idx on optimizer.offer_optimization_history
    (campaign_id, measured_at desc);

-- When a user answers best, in the user's own time zone; campaign_type 0 is any type.
create table optimizer.user_optimal_send_times (
    user_id text not null,
    campaign_type smallint not null,
    time_zone text not null,
    optimal_hour smallint not null,
    optimal_day smallint not null,
    expected_conversion_rate double precision,
    confidence double precision,
    observed_events bigint not null,
    computed_at timestamptz not null,
    constraint user_optimal_send_times_pkey primary key (user_id, campaign_type),
    constraint user_optimal_send_times_hour_of_day check (optimal_hour between 0 and 23),
    constraint user_optimal_send_times_day_of_week check (optimal_day between 0 and 6),
    constraint user_optimal_send_times_rate_is_fraction check (expected_conversion_rate between 0 and 1),
    constraint user_optimal_send_times_confidence_is_probability check (confidence between 0 and 1)
);

-- How likely a user is to visit a merchant, with the reasons in words.
create table optimizer.user_merchant_affinity (
    user_id text not null,
    merchant_id integer not null,
    affinity_score double precision not null,
    reasons text[] not null,
    computed_at timestamptz not null,
    constraint user_merchant_affinity_pkey primary key (user_id, merchant_id),
    constraint user_merchant_affinity_score_is_probability check (affinity_score between 0 and 1)
);

-- A user's merchants, best first.
create index user_merchant_affinity_rank_idx on optimizer.user_merchant_affinity
    (user_id, affinity_score desc);

grant select, insert, update, delete on
    optimizer.campaign_optimizations, optimizer.offer_optimization_history,
    optimizer.user_optimal_send_times, optimizer.user_merchant_affinity
    to optimizer;
grant select on
    optimizer.campaign_optimizations, optimizer.offer_optimization_history,
    optimizer.user_optimal_send_times, optimizer.user_merchant_affinity
    to reporting;
