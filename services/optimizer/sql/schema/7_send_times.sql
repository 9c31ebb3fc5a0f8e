-- When a user answers best, in the user's own time zone; campaign_type 0 is any type. By local hour (24 numbers) and
-- weekday from Monday (7): what a delivery then is worth, its parts, and how likely it is the best. Rates are null where
-- the data cannot tell them. The deviations are standard errors of the logits of values and rates, by which their
-- intervals are known; null where they were not kept.
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
    expected_conversion_rate_lower double precision,
    expected_conversion_rate_upper double precision,
    source text not null,
    quiet_start_hour smallint not null,
    quiet_end_hour smallint not null,
    hour_values double precision[] not null,
    hour_view_rates double precision[],
    hour_conversion_rates double precision[],
    hour_probabilities double precision[] not null,
    day_values double precision[] not null,
    day_view_rates double precision[],
    day_conversion_rates double precision[],
    day_probabilities double precision[] not null,
    hour_value_deviations real[],
    hour_view_deviations real[],
    hour_conversion_deviations real[],
    day_value_deviations real[],
    constraint user_optimal_send_times_pkey primary key (user_id, campaign_type),
    constraint user_optimal_send_times_hour_of_day check (optimal_hour between 0 and 23),
    constraint user_optimal_send_times_day_of_week check (optimal_day between 0 and 6),
    constraint user_optimal_send_times_rate_is_fraction check (expected_conversion_rate between 0 and 1),
    constraint user_optimal_send_times_confidence_is_probability check (confidence between 0 and 1),
    constraint user_optimal_send_times_source_known check (source in ('user', 'segment', 'population')),
    constraint user_optimal_send_times_hours_of_a_day check (
        cardinality(hour_values) = 24 and cardinality(hour_probabilities) = 24
    ),
    constraint user_optimal_send_times_days_of_a_week check (
        cardinality(day_values) = 7 and cardinality(day_probabilities) = 7
    )
);

-- When everybody, and each set of segments, acts and answers: what users' own histories are shrunk towards.
create table optimizer.send_time_profiles (
    profile_name text not null,
    fitted_at timestamptz not null,
    users bigint not null,
    document jsonb not null,
    constraint send_time_profiles_pkey primary key (profile_name)
);

-- How far the job has come: events received before received_until have queued their users.
create table optimizer.send_time_progress (
    progress_name text not null,
    received_until timestamptz not null,
    constraint send_time_progress_pkey primary key (progress_name)
);

-- Users whose send times are to be computed anew. retry_at: when to try again one whose events could not be counted in
-- time; null: not tried yet.
create table optimizer.send_time_queue (
    user_id text not null,
    retry_at timestamptz,
    constraint send_time_queue_pkey primary key (user_id)
);

-- For list_users_to_retry.
create index send_time_queue_retry_idx on optimizer.send_time_queue (retry_at) where retry_at is not null;

grant select, insert, update, delete on
    optimizer.user_optimal_send_times, optimizer.send_time_profiles, optimizer.send_time_progress,
    optimizer.send_time_queue
    to optimizer;
grant select on
    optimizer.user_optimal_send_times, optimizer.send_time_profiles, optimizer.send_time_progress,
    optimizer.send_time_queue
    to reporting;
