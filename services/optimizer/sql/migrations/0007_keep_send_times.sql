-- migrate:up

-- Nothing was kept here before.
delete from optimizer.user_optimal_send_times;

-- By local hour (24 numbers) and weekday from Monday (7): what a delivery then is worth, its parts, and how likely it
-- is the best. Rates are null where the data cannot tell them.
alter table optimizer.user_optimal_send_times
    add column expected_conversion_rate_lower double precision,
    add column expected_conversion_rate_upper double precision,
    add column source text not null,
    add column quiet_start_hour smallint not null,
    add column quiet_end_hour smallint not null,
    add column hour_values double precision[] not null,
    add column hour_view_rates double precision[],
    add column hour_conversion_rates double precision[],
    add column hour_probabilities double precision[] not null,
    add column day_values double precision[] not null,
    add column day_view_rates double precision[],
    add column day_conversion_rates double precision[],
    add column day_probabilities double precision[] not null,
    add constraint user_optimal_send_times_source_known check (source in ('user', 'segment', 'population')),
    add constraint user_optimal_send_times_hours_of_a_day check (
        cardinality(hour_values) = 24 and cardinality(hour_probabilities) = 24
    ),
    add constraint user_optimal_send_times_days_of_a_week check (
        cardinality(day_values) = 7 and cardinality(day_probabilities) = 7
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

-- Users whose send times are to be computed anew.
create table optimizer.send_time_queue (
    user_id text not null,
    constraint send_time_queue_pkey primary key (user_id)
);

grant select, insert, update, delete on
    optimizer.send_time_profiles, optimizer.send_time_progress, optimizer.send_time_queue
    to optimizer;
grant select on optimizer.send_time_profiles, optimizer.send_time_progress, optimizer.send_time_queue to reporting;

-- migrate:down
drop table optimizer.send_time_queue;
drop table optimizer.send_time_progress;
drop table optimizer.send_time_profiles;
alter table optimizer.user_optimal_send_times
    drop constraint user_optimal_send_times_days_of_a_week,
    drop constraint user_optimal_send_times_hours_of_a_day,
    drop constraint user_optimal_send_times_source_known,
    drop column day_probabilities,
    drop column day_conversion_rates,
    drop column day_view_rates,
    drop column day_values,
    drop column hour_probabilities,
    drop column hour_conversion_rates,
    drop column hour_view_rates,
    drop column hour_values,
    drop column quiet_end_hour,
    drop column quiet_start_hour,
    drop column source,
    drop column expected_conversion_rate_upper,
    drop column expected_conversion_rate_lower;
