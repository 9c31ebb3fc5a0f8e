-- What users did after they were assigned, as sufficient statistics.

-- name: list_epoch_users :many
-- Assigned users per weight epoch and group of a test, from the counters; what has no users is left out.
select c.epoch, w.weights, w.coverage, c.group_index, sum(c.users)::bigint as users
from ab_test_group_counters c
join ab_test_weight_epochs w on w.test_id = c.test_id and w.epoch = c.epoch
where c.test_id = $1
group by c.epoch, w.weights, w.coverage, c.group_index
order by c.epoch, c.group_index;

-- name: list_cohort_users :many
-- The same, of the users assigned until $2 (null: of all), and with $3 by their set of segments too (null: none known).
select
    a.epoch, w.weights, w.coverage, a.group_index, case when $3::boolean then a.segment_set_id end as segment_set_id,
    count(*) as users
from ab_test_assignments a
join ab_test_weight_epochs w on w.test_id = a.test_id and w.epoch = a.epoch
where a.test_id = $1 and ($2::timestamptz is null or a.assigned_at <= $2)
group by a.epoch, w.weights, w.coverage, a.group_index, case when $3::boolean then a.segment_set_id end
order by a.epoch, a.group_index, 5;

-- name: list_converting_users :many
-- Users with an event of type $7 on their group's campaign after their assignment, per weight epoch and group of a
-- test created at $3 whose groups' campaigns are $2, in their order. With $4 only events so long after the assignment
-- count, with $5 only users assigned until then, and with $6 they are given by their set of segments too.
select
    a.epoch, a.group_index, case when $6::boolean then a.segment_set_id end as segment_set_id,
    count(*) as converting_users
from ab_test_assignments a
where a.test_id = $1 and ($5::timestamptz is null or a.assigned_at <= $5)
    -- Not a join, so that a user of many events is counted once without being sorted out; and how many users there
    -- are in all, the counters tell.
    and exists (
        select 1
        from analytics_v1.campaign_user_events e
        where e.user_id = a.user_id and e.campaign_id = ($2::text[])[a.group_index + 1] and e.event_at > a.assigned_at
            and e.campaign_id = any($2::text[]) and e.event_at > $3 and e.event_type = $7::smallint
            and ($4::interval is null or e.event_at <= a.assigned_at + $4)
    )
group by a.epoch, a.group_index, case when $6::boolean then a.segment_set_id end;

-- name: list_amounts :many
-- Sums, over users, of what they amount to: numerator $7 and denominator $9 are event types, or 100 for revenue, with
-- the names of custom events $8 and $10; $9 is null for a mean. $1 to $6 are as above. With $11 each user's numerator
-- is capped at that quantile of the amounts above 0. With $12 the second amount is a covariate instead: what the user
-- did in so many days of the reporting zone before the day of the assignment, revenue in currency $13 if the numerator
-- is revenue, purchases if it is conversions, else acts.
with counted as (
    select
        e.campaign_id, e.user_id, e.event_at, case when e.event_type = $7::smallint then 1::bigint else 0 end as first,
        case when e.event_type = $9::smallint then 1::bigint else 0 end as second
    from analytics_v1.campaign_user_events e
    where e.campaign_id = any($2::text[]) and e.event_at > $3 and e.event_type = any(array[$7, $9]::smallint[])
        and e.event_type < 10
    union all
    select
        e.campaign_id, e.user_id, e.event_at,
        case when $7::smallint = 10 and e.custom_event_name = $8 then 1::bigint else 0 end,
        case when $9::smallint = 10 and e.custom_event_name = $10 then 1::bigint else 0 end
    from analytics_v1.campaign_user_events e
    where 10 = any(array[$7, $9]::smallint[]) and e.campaign_id = any($2::text[]) and e.event_at > $3
        and e.event_type = 10 and e.custom_event_name = any(array[$8, $10]::text[])
    union all
    select
        e.campaign_id, e.user_id, e.event_at, case when $7::smallint = 100 then e.revenue_micros else 0 end,
        case when $9::smallint = 100 then e.revenue_micros else 0 end
    from analytics_v1.campaign_user_events e
    where 100 = any(array[$7, $9]::smallint[]) and e.campaign_id = any($2::text[]) and e.event_at > $3
        and e.event_type <> 5 and e.revenue_micros <> 0
    union all
    -- A refund counts where its original does.
    select
        e.campaign_id, e.user_id, e.counted_at, case when $7::smallint = 100 then -e.revenue_micros else 0 end,
        case when $9::smallint = 100 then -e.revenue_micros else 0 end
    from analytics_v1.campaign_user_events e
    where 100 = any(array[$7, $9]::smallint[]) and e.campaign_id = any($2::text[]) and e.counted_at > $3
        and e.event_type = 5 and e.revenue_micros <> 0
),
parts as (
    select
        a.epoch, a.group_index, case when $6::boolean then a.segment_set_id end as segment_set_id, a.user_id,
        c.first, c.second
    from counted c
    join ab_test_assignments a
        on a.test_id = $1 and a.user_id = c.user_id and ($2::text[])[a.group_index + 1] = c.campaign_id
        and a.assigned_at < c.event_at
    where ($4::interval is null or c.event_at <= a.assigned_at + $4)
        and ($5::timestamptz is null or a.assigned_at <= $5)
    union all
    select
        a.epoch, a.group_index, case when $6::boolean then a.segment_set_id end, a.user_id, 0,
        case
            when $7::smallint = 100 then case when d.currency_code = $13 then d.revenue_micros else 0 end
            when $7::smallint = 4 then d.purchases
            else d.acts
        end
    from ab_test_assignments a
    cross join analytics_v1.reporting_settings s
    join analytics_v1.user_activity_daily d
        on d.user_id = a.user_id and d.day < (a.assigned_at at time zone s.reporting_time_zone)::date
        and d.day >= (a.assigned_at at time zone s.reporting_time_zone)::date - $12::integer
    where $12::integer is not null and a.test_id = $1 and ($5::timestamptz is null or a.assigned_at <= $5)
),
users as (
    select
        epoch, group_index, segment_set_id, user_id, sum(first)::bigint as first, sum(second)::bigint as second
    from parts
    group by epoch, group_index, segment_set_id, user_id
),
caps as (
    select percentile_disc($11::double precision) within group (order by first) as cap
    from users
    where $11 is not null and first > 0
),
capped as (
    -- `least` passes over a cap that is null.
    select u.epoch, u.group_index, u.segment_set_id, least(u.first, c.cap) as first, u.second, c.cap
    from users u
    cross join caps c
)
select
    epoch, group_index, segment_set_id, cap, count(*) filter (where first > 0) as converting_users,
    sum(first) as first_total, sum(second) as second_total, sum(first::numeric * first) as first_squares,
    sum(second::numeric * second) as second_squares, sum(first::numeric * second) as products
from capped
group by epoch, group_index, segment_set_id, cap;

-- name: list_first_conversions :many
-- How many users of a weight epoch and group, exposed for so many whole days at $6 (at most $7), converted first on
-- which day since their first exposure: 0 within the first 24 hours, null not at all, negative before the exposure. Who
-- was never exposed counts from the assignment. $1 to $4 are as above, and $5 is the type of event.
with exposures as (
    select user_id, min(exposed_at) as exposed_at
    from ab_test_exposures
    where test_id = $1
    group by user_id
),
conversions as (
    select e.campaign_id, a.user_id, min(e.event_at) as converted_at
    from analytics_v1.campaign_user_events e
    join ab_test_assignments a
        on a.test_id = $1 and a.user_id = e.user_id and ($2::text[])[a.group_index + 1] = e.campaign_id
        and a.assigned_at < e.event_at
    where e.campaign_id = any($2::text[]) and e.event_at > $3 and e.event_type = $5::smallint
        and ($4::interval is null or e.event_at <= a.assigned_at + $4)
    group by e.campaign_id, a.user_id
),
users as (
    select
        a.epoch, a.group_index, greatest(x.exposed_at, a.assigned_at) as exposed_at, c.converted_at
    from ab_test_assignments a
    left join exposures x on x.user_id = a.user_id
    left join conversions c on c.user_id = a.user_id
    where a.test_id = $1
)
select
    epoch, group_index,
    least(floor(extract(epoch from $6::timestamptz - exposed_at) / 86400), $7)::integer as observed_days,
    floor(extract(epoch from converted_at - exposed_at) / 86400)::integer as first_day, count(*) as users
from users
where exposed_at + interval '1 day' <= $6
group by 1, 2, 3, 4;

-- name: list_segment_sets :many
-- The names of these sets of segments.
select segment_set_id, segments
from analytics_v1.segment_sets
where segment_set_id = any($1::integer[]);

-- name: fetch_last_assignment :one
-- When the last user of a test was assigned; null without users.
select max(assigned_at) as assigned_at
from ab_test_assignments
where test_id = $1;

-- name: fetch_horizon :one
-- When the last group of a test was assigned its $2-th user; null where one has fewer.
select case when count(*) = count(reached_at) then max(reached_at) end as reached_at
from ab_test_groups g
left join lateral (
    select a.assigned_at as reached_at
    from ab_test_assignments a
    where a.test_id = g.test_id and a.group_index = g.group_index
    order by a.assigned_at
    offset $2::bigint - 1
    limit 1
) as nth on true
where g.test_id = $1;

-- name: fetch_outcome_limits :one
-- Through which day single events are no longer kept (null: all are), the zone of that day, and the currencies of these
-- campaigns.
select
    s.reporting_time_zone, s.sealed_through,
    array(
        select distinct c.currency_code
        from analytics_v1.campaigns c
        where c.campaign_id = any($1::text[]) and c.currency_code is not null
        order by c.currency_code
    ) as currency_codes
from (select 1) as one
left join analytics_v1.reporting_settings s on true;
