-- When users act and answer, and what is kept of it.

-- name: list_time_zone_names :many
-- The time zones that the database knows.
select name
from pg_timezone_names;

-- name: list_user_places :many
-- The time zones and sets of segments of the users $1, in their order; nulls where the catalog does not say.
select u.time_zone, u.segment_set_id
from unnest($1::text[]) with ordinality as person (user_id, place)
left join analytics_v1.users u using (user_id)
order by person.place;

-- name: list_send_time_counts :many
-- What the users $1 did by hour and weekday of their time zones $2, in the $3 days up to each one's last event and in
-- their last $5 events: the hours in which they bought outside campaigns, each once, and the deliveries before $4 with
-- what came of them within three days, before the campaign's next one. Opens by machines are nobody's.
with people as (
    select user_id, time_zone
    from unnest($1::text[], $2::text[]) as person (user_id, time_zone)
),
seen as (
    select
        p.user_id, p.time_zone, e.event_type, e.event_at, e.campaign_id,
        first_value(e.event_at) over newest_first as last_at, row_number() over newest_first as place
    from people p
    join analytics_v1.user_events e on e.user_id = p.user_id
    where
        e.event_type in (1, 2, 3, 4, 9) and not e.is_machine_open
        and (e.campaign_id is not null or e.event_type = 4)
    window newest_first as (partition by p.user_id order by e.event_at desc, e.event_id)
),
recent as (
    select user_id, time_zone, event_type, event_at, campaign_id
    from seen
    where place <= $5::integer and event_at > last_at - make_interval(days => $3::integer)
),
acts as (
    select distinct user_id, date_trunc('hour', event_at at time zone time_zone) as local_hour
    from recent
    where campaign_id is null
),
answers as (
    select
        user_id, time_zone, event_type, event_at, campaign_id,
        max(event_at) filter (where event_type = 1) over (
            partition by user_id, campaign_id order by event_at, event_type
        ) as delivered_at
    from recent
    where campaign_id is not null
),
deliveries as (
    select
        user_id, campaign_id, delivered_at at time zone time_zone as local_time,
        bool_or(event_type <> 1 and event_at < delivered_at + interval '3 days') as is_viewed,
        bool_or(event_type = 4 and event_at < delivered_at + interval '3 days') as is_converted
    from answers
    where delivered_at < $4
    group by user_id, campaign_id, delivered_at, time_zone
),
spans as (
    select
        user_id, min(event_at at time zone time_zone)::date as first_day,
        max(event_at at time zone time_zone)::date as last_day
    from recent
    where user_id in (select user_id from acts)
    group by user_id
)
select
    user_id, null::text as campaign_id, 0::smallint as campaign_type,
    extract(isodow from local_hour)::integer - 1 as weekday, extract(hour from local_hour)::integer as hour,
    count(*) as acts, 0::bigint as deliveries, 0::bigint as views, 0::bigint as conversions, 0 as days
from acts
group by user_id, weekday, hour
union all
-- How often each weekday came from the first to the last day.
select
    s.user_id, null::text as campaign_id, 0::smallint as campaign_type, w.weekday, 0 as hour, 0::bigint as acts,
    0::bigint as deliveries, 0::bigint as views, 0::bigint as conversions,
    (s.last_day - s.first_day + 7 - (w.weekday + 8 - extract(isodow from s.first_day)::integer) % 7) / 7 as days
from spans s
cross join generate_series(0, 6) as w (weekday)
union all
select
    d.user_id, d.campaign_id, coalesce(c.campaign_type, 0)::smallint as campaign_type,
    extract(isodow from d.local_time)::integer - 1 as weekday, extract(hour from d.local_time)::integer as hour,
    0::bigint as acts, count(*) as deliveries, count(*) filter (where d.is_viewed) as views,
    count(*) filter (where d.is_converted) as conversions, 0 as days
from deliveries d
left join analytics_v1.campaigns c using (campaign_id)
group by d.user_id, d.campaign_id, c.campaign_type, weekday, hour;

-- name: fetch_send_time_progress :one
-- Events received before this have queued their users.
select received_until
from send_time_progress
where progress_name = 'events';

-- name: upsert_send_time_progress :exec
-- Events received before this transaction have queued their users.
insert into send_time_progress (progress_name, received_until)
values ('events', now())
on conflict on constraint send_time_progress_pkey do update set received_until = excluded.received_until;

-- name: queue_active_users :exec
-- Queue the users of whom events were received since $1.
insert into send_time_queue (user_id)
select distinct user_id
from analytics_v1.user_events
where received_at >= $1 and event_type in (1, 2, 3, 4, 9)
on conflict on constraint send_time_queue_pkey do nothing;

-- name: queue_aged_users :exec
-- Queue the users whose send times were computed before $1.
insert into send_time_queue (user_id)
select user_id
from user_optimal_send_times
where campaign_type = 0 and computed_at < $1
on conflict on constraint send_time_queue_pkey do nothing;

-- name: fetch_queued_user :one
-- Some user who is queued and due.
select user_id
from send_time_queue
where retry_at is null or retry_at <= now()
limit 1;

-- name: list_sample_users :many
-- At most $1 users, drawn by a hash of their names, of those queued and those kept.
select user_id
from (
    select user_id
    from send_time_queue
    union
    select user_id
    from user_optimal_send_times
    where campaign_type = 0
) known
order by md5(user_id)
limit $1;

-- name: list_queued_users :many
-- At most $1 of the users who are queued and were not tried yet.
select user_id
from send_time_queue
where retry_at is null
order by user_id
limit $1;

-- name: list_users_to_retry :many
-- At most $1 of the users who are to be tried again by now, the longest due first.
select user_id
from send_time_queue
where retry_at <= now()
order by retry_at, user_id
limit $1;

-- name: take_queued_users :exec
-- Take the users $1 out of the queue.
delete from send_time_queue
where user_id = any($1::text[]);

-- name: list_gone_users :many
-- Those of the users $1 of whom nothing that send times are made from came in for $2.
select person.user_id
from unnest($1::text[]) as person (user_id)
where not exists (
    select 1
    from analytics_v1.user_events e
    where
        e.user_id = person.user_id and e.event_type in (1, 2, 3, 4, 9)
        and e.received_at >= now() - $2::interval
);

-- name: delete_send_times :exec
-- Forget what is kept of the users $1.
delete from user_optimal_send_times
where user_id = any($1::text[]);

-- name: postpone_queued_users :exec
-- Put the users $1 behind the others, to be tried again $2 from now on.
update send_time_queue
set retry_at = now() + $2::interval
where user_id = any($1::text[]);

-- name: fetch_send_time_profile_time :one
-- When the profile of everybody was fitted.
select fitted_at
from send_time_profiles
where profile_name = 'everybody';

-- name: fetch_send_time_profile :one
-- The profile of everybody.
select fitted_at, document
from send_time_profiles
where profile_name = 'everybody';

-- name: fetch_timing_gain :one
-- What hours' values are worth in conversions; null where it was not learned.
select document -> 'gain' as gain
from send_time_profiles
where profile_name = 'everybody';

-- name: upsert_send_time_profile :exec
-- Keep the profile of everybody.
insert into send_time_profiles (profile_name, fitted_at, users, document)
values ('everybody', $1, $2, $3)
on conflict on constraint send_time_profiles_pkey do update
set fitted_at = excluded.fitted_at, users = excluded.users, document = excluded.document;

-- name: fetch_send_time :one
-- What is kept of a user, for campaigns of any type.
select
    user_id, time_zone, source, observed_events, computed_at, quiet_start_hour, quiet_end_hour,
    expected_conversion_rate_lower, expected_conversion_rate_upper, hour_values, hour_view_rates,
    hour_conversion_rates, hour_probabilities, day_values, day_view_rates, day_conversion_rates, day_probabilities,
    hour_value_deviations, hour_view_deviations, hour_conversion_deviations, day_value_deviations
from user_optimal_send_times
where user_id = $1 and campaign_type = 0;

-- name: upsert_send_time :exec
-- Keep a user's send time, for campaigns of any type.
insert into user_optimal_send_times (
    user_id, campaign_type, time_zone, optimal_hour, optimal_day, expected_conversion_rate,
    expected_conversion_rate_lower, expected_conversion_rate_upper, confidence, source, observed_events,
    computed_at, quiet_start_hour, quiet_end_hour, hour_values, hour_view_rates, hour_conversion_rates,
    hour_probabilities, day_values, day_view_rates, day_conversion_rates, day_probabilities, hour_value_deviations,
    hour_view_deviations, hour_conversion_deviations, day_value_deviations
)
values (
    $1, 0, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
    $25
)
on conflict on constraint user_optimal_send_times_pkey do update
set
    time_zone = excluded.time_zone,
    optimal_hour = excluded.optimal_hour,
    optimal_day = excluded.optimal_day,
    expected_conversion_rate = excluded.expected_conversion_rate,
    expected_conversion_rate_lower = excluded.expected_conversion_rate_lower,
    expected_conversion_rate_upper = excluded.expected_conversion_rate_upper,
    confidence = excluded.confidence,
    source = excluded.source,
    observed_events = excluded.observed_events,
    computed_at = excluded.computed_at,
    quiet_start_hour = excluded.quiet_start_hour,
    quiet_end_hour = excluded.quiet_end_hour,
    hour_values = excluded.hour_values,
    hour_view_rates = excluded.hour_view_rates,
    hour_conversion_rates = excluded.hour_conversion_rates,
    hour_probabilities = excluded.hour_probabilities,
    day_values = excluded.day_values,
    day_view_rates = excluded.day_view_rates,
    day_conversion_rates = excluded.day_conversion_rates,
    day_probabilities = excluded.day_probabilities,
    hour_value_deviations = excluded.hour_value_deviations,
    hour_view_deviations = excluded.hour_view_deviations,
    hour_conversion_deviations = excluded.hour_conversion_deviations,
    day_value_deviations = excluded.day_value_deviations;
