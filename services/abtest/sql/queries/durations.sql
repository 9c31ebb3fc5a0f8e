-- name: fetch_reporting_day :one
-- The day that $1 falls on in the reporting time zone; in UTC before that is settled.
select
    ($1::timestamptz at time zone coalesce(
        (select reporting_time_zone from analytics_v1.reporting_settings), 'UTC'
    ))::date as day;

-- name: count_returning_users :many
-- Users of the campaigns $1 on each day from $2 to before $3, by the day of these on which they came before (null:
-- none). These counts give the different users of any days among them. Coming is a delivery, view, click or
-- conversion.
with zone as (
    select coalesce((select reporting_time_zone from analytics_v1.reporting_settings), 'UTC') as name
),
active as (
    select e.user_id, (e.event_at at time zone zone.name)::date as day
    from zone
    join analytics_v1.campaign_user_events e
        on
            e.event_at >= $2::date::timestamp at time zone zone.name
            and e.event_at < $3::date::timestamp at time zone zone.name
    where e.campaign_id = any($1::text[]) and e.event_type between 1 and 4
    group by e.user_id, (e.event_at at time zone zone.name)::date
),
visits as (
    select day, lag(day) over (partition by user_id order by day) as previous_day
    from active
)
select previous_day, day, count(*) as users
from visits
group by previous_day, day
order by day, previous_day nulls first;

-- name: count_reached_users :one
-- Different users of the campaigns $1 on the days from $2 to before $3, and how many of them converted.
with zone as (
    select coalesce((select reporting_time_zone from analytics_v1.reporting_settings), 'UTC') as name
),
reached as (
    select e.user_id, bool_or(e.event_type = 4) as converted
    from zone
    join analytics_v1.campaign_user_events e
        on
            e.event_at >= $2::date::timestamp at time zone zone.name
            and e.event_at < $3::date::timestamp at time zone zone.name
    where e.campaign_id = any($1::text[]) and e.event_type between 1 and 4
    group by e.user_id
)
select count(*) as users, count(*) filter (where converted) as converting_users
from reached;
