-- What users did by day, and cohorts by the day of their users' first events.

-- name: fetch_audience_progress :one
-- How far an audience job is.
select as_of, received_until, reporting_time_zone
from audience_progress
where progress_name = $1::text;

-- name: lock_user_activity :exec
-- Lets one transaction at a time count users' days: two jobs do, and neither has a row to lock before the first run.
select pg_advisory_xact_lock(7202, 3);

-- name: upsert_audience_progress :exec
-- Keeps how far an audience job is.
insert into audience_progress (progress_name, as_of, received_until, reporting_time_zone)
values ($1::text, $2::timestamptz, $3::timestamptz, $4::text)
on conflict on constraint audience_progress_pkey do update set
    as_of = excluded.as_of,
    received_until = excluded.received_until,
    reporting_time_zone = excluded.reporting_time_zone;

-- name: fetch_first_received :one
-- When the first event came in; null without events.
select min(received_at) as received_at
from events;

-- name: count_received :one
-- How many events came in from $1, before $2.
select count(*) as events
from events
where received_at >= $1::timestamptz and received_at < $2::timestamptz;

-- name: clear_user_activity :exec
-- Forgets what users did, and all cohorts.
with days as (
    delete from user_activity_daily
),
activity as (
    delete from cohort_activity
)
delete from cohort_money;

-- name: count_user_activity :one
-- Adds the events received from $1, before $2 to the days of their users and to cohorts; returns how many
-- days and users changed. What is read of user_activity_daily is as it was before: a cell of a cohort is
-- changed by what its users now are in it (sign 1) less what they were (sign -1). The cost goes with the
-- users who changed and the periods that they changed in; only users whose first day moved are counted again
-- from all their days.
with received as materialized (
    select
        e.user_id, e.event_type, e.currency_code, e.original_event_id,
        coalesce(e.revenue_micros, 0) as revenue_micros,
        coalesce(e.cost_micros, 0) as cost_micros,
        (e.event_at at time zone z.reporting_time_zone)::date as event_day,
        (e.counted_at at time zone z.reporting_time_zone)::date as counted_day
    from events e
    cross join reporting_settings z
    where e.received_at >= $1::timestamptz and e.received_at < $2::timestamptz
),
-- Purchases that refunds received here, and not those before, took back wholly.
taken_back as (
    select
        o.user_id, o.currency_code, (o.counted_at at time zone z.reporting_time_zone)::date as day
    from (
        select distinct user_id, original_event_id
        from received
        where event_type = 5
    ) r
    join events o on o.user_id = r.user_id and o.event_id = r.original_event_id
    cross join reporting_settings z
    cross join lateral (
        select
            coalesce(sum(f.revenue_micros) filter (where f.received_at < $1::timestamptz), 0) as before,
            sum(f.revenue_micros) filter (where f.received_at < $2::timestamptz) as until
        from events f
        where f.user_id = r.user_id and f.original_event_id = r.original_event_id and f.event_type = 5
    ) f
    where o.revenue_micros > 0 and f.before < o.revenue_micros and f.until >= o.revenue_micros
),
changes as materialized (
    select
        user_id, day, currency_code, sum(events) as events, sum(acts) as acts, sum(purchases) as purchases,
        sum(revenue_micros)::bigint as revenue_micros, sum(cost_micros)::bigint as cost_micros
    from (
        select
            user_id, event_day as day, currency_code, 1 as events,
            (event_type not in (1, 5, 8))::integer as acts, 0 as purchases, 0 as revenue_micros,
            0 as cost_micros
        from received
        union all
        select
            user_id, counted_day, currency_code, 0, 0, (event_type = 4)::integer,
            case when event_type = 5 then -revenue_micros else revenue_micros end, cost_micros
        from received
        where event_type in (4, 5) or cost_micros <> 0
        union all
        select user_id, day, currency_code, 0, 0, -1, 0, 0
        from taken_back
    ) parts
    group by user_id, day, currency_code
),
changed_users as materialized (
    select n.user_id, o.cohort_day as old_day, least(o.cohort_day, n.first_day) as new_day
    from (
        select user_id, min(day) filter (where events > 0) as first_day
        from changes
        group by user_id
    ) n
    left join lateral (
        select a.day as cohort_day
        from user_activity_daily a
        where a.user_id = n.user_id and a.events > 0
        order by a.day
        limit 1
    ) o on true
),
changed_days as materialized (
    select u.user_id, u.old_day, u.new_day, c.day
    from changed_users u
    join changes c on c.user_id = u.user_id
    union
    select u.user_id, u.old_day, u.new_day, a.day
    from changed_users u
    join user_activity_daily a on a.user_id = u.user_id
    where u.old_day > u.new_day
),
-- The periods to count again, before and after.
periods as materialized (
    select distinct
        d.user_id, s.sign, s.cohort_day, i.interval_days,
        (d.day - s.cohort_day) / i.interval_days as period_index
    from changed_days d
    cross join lateral (values (-1, d.old_day), (1, d.new_day)) as s (sign, cohort_day)
    cross join (values (1), (7), (30)) as i (interval_days)
    where d.day >= s.cohort_day and (i.interval_days > 1 or d.day - s.cohort_day < 90)
),
contributions as materialized (
    select
        user_id, sign, cohort_day, interval_days, period_index, currency_code, sum(events) as events,
        sum(acts) as acts, sum(revenue_micros)::bigint as revenue_micros,
        sum(cost_micros)::bigint as cost_micros
    from (
        select
            p.user_id, p.sign, p.cohort_day, p.interval_days, p.period_index, a.currency_code, a.events,
            a.acts, a.revenue_micros, a.cost_micros
        from periods p
        join user_activity_daily a on a.user_id = p.user_id
            and a.day >= p.cohort_day + p.period_index * p.interval_days
            and a.day < p.cohort_day + (p.period_index + 1) * p.interval_days
        union all
        select
            p.user_id, p.sign, p.cohort_day, p.interval_days, p.period_index, c.currency_code, c.events,
            c.acts, c.revenue_micros, c.cost_micros
        from periods p
        join changes c on c.user_id = p.user_id
            and (c.day - p.cohort_day) / p.interval_days = p.period_index and c.day >= p.cohort_day
        where p.sign = 1
    ) days
    group by user_id, sign, cohort_day, interval_days, period_index, currency_code
),
counted_activity as (
    insert into cohort_activity as t (
        cohort_day, interval_days, period_index, active_users, engaged_users
    )
    select
        cohort_day, interval_days, period_index, sum(sign) filter (where events > 0),
        coalesce(sum(sign) filter (where acts > 0), 0)
    from (
        select
            user_id, sign, cohort_day, interval_days, period_index, sum(events) as events,
            sum(acts) as acts
        from contributions
        group by user_id, sign, cohort_day, interval_days, period_index
    ) users
    where events > 0
    group by cohort_day, interval_days, period_index
    having sum(sign) <> 0 or coalesce(sum(sign) filter (where acts > 0), 0) <> 0
    on conflict on constraint cohort_activity_pkey do update set
        active_users = t.active_users + excluded.active_users,
        engaged_users = t.engaged_users + excluded.engaged_users
),
counted_money as (
    insert into cohort_money as t (
        cohort_day, interval_days, period_index, currency_code, paying_users, revenue_micros, cost_micros,
        revenue_revenue, revenue_cost, cost_cost, revenue_revenue_revenue
    )
    select
        cohort_day, interval_days, period_index, currency_code,
        coalesce(sum(sign) filter (where revenue_micros > 0), 0), sum(sign * revenue_micros),
        sum(sign * cost_micros), sum(sign * revenue_micros::numeric * revenue_micros),
        sum(sign * revenue_micros::numeric * cost_micros), sum(sign * cost_micros::numeric * cost_micros),
        sum(sign * revenue_micros::numeric * revenue_micros * revenue_micros)
    from contributions
    where revenue_micros <> 0 or cost_micros <> 0
    group by cohort_day, interval_days, period_index, currency_code
    on conflict on constraint cohort_money_pkey do update set
        paying_users = t.paying_users + excluded.paying_users,
        revenue_micros = t.revenue_micros + excluded.revenue_micros,
        cost_micros = t.cost_micros + excluded.cost_micros,
        revenue_revenue = t.revenue_revenue + excluded.revenue_revenue,
        revenue_cost = t.revenue_cost + excluded.revenue_cost,
        cost_cost = t.cost_cost + excluded.cost_cost,
        revenue_revenue_revenue = t.revenue_revenue_revenue + excluded.revenue_revenue_revenue
),
counted_days as (
    insert into user_activity_daily as t (
        user_id, day, currency_code, events, acts, purchases, revenue_micros, cost_micros
    )
    select user_id, day, currency_code, events, acts, purchases, revenue_micros, cost_micros
    from changes
    on conflict on constraint user_activity_daily_pkey do update set
        events = t.events + excluded.events,
        acts = t.acts + excluded.acts,
        purchases = t.purchases + excluded.purchases,
        revenue_micros = t.revenue_micros + excluded.revenue_micros,
        cost_micros = t.cost_micros + excluded.cost_micros
)
select
    (select count(*) from changes) as days,
    (select count(*) from changed_users) as users,
    (select count(*) from changed_users where old_day > new_day) as moved_users;

-- name: list_cohorts :many
-- How far the count is; cohorts from $1 to $2 after $3 by day, at most $4; their periods before index $6 of
-- interval $5, and money of currency $7 or, where that is empty, of each. No rows before the first run of the
-- job, one without a cohort where there is none.
with chosen as (
    select cohort_day, active_users as users
    from cohort_activity
    where interval_days = 1 and period_index = 0 and active_users > 0
        and cohort_day between $1::date and $2::date and cohort_day > $3::date
    order by cohort_day
    limit $4::integer
)
select
    p.as_of, c.cohort_day, c.users, a.period_index, a.active_users, a.engaged_users, m.currency_code,
    m.paying_users, m.revenue_micros, m.cost_micros, m.revenue_revenue, m.revenue_cost, m.cost_cost,
    m.revenue_revenue_revenue
from audience_progress p
left join chosen c on true
left join cohort_activity a on a.interval_days = $5::smallint and a.cohort_day = c.cohort_day
    and a.period_index < $6::integer
left join cohort_money m on m.interval_days = a.interval_days and m.cohort_day = a.cohort_day
    and m.period_index = a.period_index and ($7::text = '' or m.currency_code = $7::text)
where p.progress_name = 'user_activity'
order by c.cohort_day, a.period_index, m.currency_code;

-- name: list_differences_of_user_activity_daily :many
-- Rows of user_activity_daily that differ from a recount of the events received before $1; days that are
-- sealed have no events to count again.
with recounted as materialized (
    select
        user_id, day, currency_code, sum(events)::integer as events, sum(acts)::integer as acts,
        sum(purchases)::integer as purchases, sum(revenue_micros)::bigint as revenue_micros,
        sum(cost_micros)::bigint as cost_micros
    from (
        select
            e.user_id, (e.event_at at time zone z.reporting_time_zone)::date as day, e.currency_code,
            1 as events, (e.event_type not in (1, 5, 8))::integer as acts, 0 as purchases,
            0 as revenue_micros, 0 as cost_micros
        from events e
        cross join reporting_settings z
        where e.received_at < $1::timestamptz
        union all
        select
            e.user_id, (e.counted_at at time zone z.reporting_time_zone)::date, e.currency_code, 0, 0,
            (
                e.event_type = 4
                and not (
                    e.revenue_micros > 0
                    and e.revenue_micros <= (
                        select sum(f.revenue_micros)
                        from events f
                        where f.user_id = e.user_id and f.original_event_id = e.event_id
                            and f.event_type = 5 and f.received_at < $1::timestamptz
                    )
                ) is true
            )::integer,
            case when e.event_type = 5 then -e.revenue_micros else coalesce(e.revenue_micros, 0) end,
            coalesce(e.cost_micros, 0)
        from events e
        cross join reporting_settings z
        where e.received_at < $1::timestamptz and (e.event_type in (4, 5) or e.cost_micros <> 0)
    ) parts
    where day > coalesce((select sealed_through from reporting_settings), '-infinity'::date)
    group by user_id, day, currency_code
),
stored as materialized (
    select user_id, day, currency_code, events, acts, purchases, revenue_micros, cost_micros
    from user_activity_daily
    where day > coalesce((select sealed_through from reporting_settings), '-infinity'::date)
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d;

-- name: list_differences_of_cohort_activity :many
-- Rows of cohort_activity that differ from a recount of user_activity_daily.
with users as (
    select user_id, min(day) as cohort_day
    from user_activity_daily
    where events > 0
    group by user_id
),
recounted as materialized (
    select
        u.cohort_day, i.interval_days::smallint as interval_days,
        (a.day - u.cohort_day) / i.interval_days as period_index,
        count(distinct a.user_id) as active_users,
        count(distinct a.user_id) filter (where a.acts > 0) as engaged_users
    from users u
    join user_activity_daily a on a.user_id = u.user_id and a.events > 0
    cross join (values (1), (7), (30)) as i (interval_days)
    where i.interval_days > 1 or a.day - u.cohort_day < 90
    group by 1, 2, 3
),
stored as materialized (
    select cohort_day, interval_days, period_index, active_users, engaged_users
    from cohort_activity
    where active_users <> 0 or engaged_users <> 0
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d;

-- name: list_differences_of_cohort_money :many
-- Rows of cohort_money that differ from a recount of user_activity_daily.
with users as (
    select user_id, min(day) as cohort_day
    from user_activity_daily
    where events > 0
    group by user_id
),
per_user as (
    select
        u.cohort_day, i.interval_days, (a.day - u.cohort_day) / i.interval_days as period_index,
        a.currency_code, a.user_id, sum(a.revenue_micros)::bigint as revenue_micros,
        sum(a.cost_micros)::bigint as cost_micros
    from users u
    join user_activity_daily a on a.user_id = u.user_id and a.day >= u.cohort_day
    cross join (values (1), (7), (30)) as i (interval_days)
    where i.interval_days > 1 or a.day - u.cohort_day < 90
    group by 1, 2, 3, 4, 5
),
recounted as materialized (
    select
        cohort_day, interval_days::smallint as interval_days, period_index, currency_code,
        count(*) filter (where revenue_micros > 0) as paying_users,
        sum(revenue_micros)::bigint as revenue_micros, sum(cost_micros)::bigint as cost_micros,
        sum(revenue_micros::numeric * revenue_micros) as revenue_revenue,
        sum(revenue_micros::numeric * cost_micros) as revenue_cost,
        sum(cost_micros::numeric * cost_micros) as cost_cost,
        sum(revenue_micros::numeric * revenue_micros * revenue_micros) as revenue_revenue_revenue
    from per_user
    where revenue_micros <> 0 or cost_micros <> 0
    group by 1, 2, 3, 4
),
stored as materialized (
    select
        cohort_day, interval_days, period_index, currency_code, paying_users, revenue_micros, cost_micros,
        revenue_revenue, revenue_cost, cost_cost, revenue_revenue_revenue
    from cohort_money
    where revenue_revenue <> 0 or cost_cost <> 0
)
select 'stored' as side, d::text as content
from (select * from stored except select * from recounted) d
union all
select 'recounted' as side, d::text as content
from (select * from recounted except select * from stored) d;
