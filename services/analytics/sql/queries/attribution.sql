-- Attribution: what the run reads and writes, and what answers read.

-- name: lock_attribution :exec
-- One run at a time writes attribution.
select pg_advisory_xact_lock(7202, 14);

-- name: fetch_attribution_state :one
-- What was counted up to, under which window and reporting zone; none before the first run.
select received_before, lookback_days, reporting_time_zone
from attribution_state;

-- name: upsert_attribution_state :exec
-- Keeps what was looked through; its months must be marked in the same transaction.
insert into attribution_state (received_before, lookback_days, reporting_time_zone)
values ($1::timestamptz, $2::integer, $3::text)
on conflict on constraint attribution_state_pkey do update set
    received_before = excluded.received_before,
    lookback_days = excluded.lookback_days,
    reporting_time_zone = excluded.reporting_time_zone;

-- name: fetch_attribution_bounds :one
-- The first and the last day with events, by the key of a rollup that begins with the day; null before the first.
select min(day) as first_day, max(day) as last_day
from portfolio_analytics_daily;

-- name: list_changed_attribution_days :many
-- The days of what was received from $1 that attribution depends on: touches (is_touch), conversions, refunds
-- (is_refund: they change their original's day and nothing else).
select distinct
    (e.counted_at at time zone z.reporting_time_zone)::date as day,
    e.event_type <= 3 as is_touch,
    e.event_type = 5 as is_refund
from events e
cross join reporting_settings z
where e.received_at >= $1::timestamptz and e.event_type <= 5;

-- name: list_turned_campaigns :many
-- The days of campaigns whose first views or clicks were received from $1: until then their deliveries were their
-- touches.
select min(d.day) as first_day, max(d.day) as last_day
from (
    select distinct campaign_id
    from events
    where received_at >= $1::timestamptz and event_type in (2, 3) and campaign_id is not null
) seen
join campaign_analytics_daily d on d.campaign_id = seen.campaign_id
where not exists (
    select
    from events e
    where e.campaign_id = seen.campaign_id and e.event_type in (2, 3) and e.received_at < $1::timestamptz
)
group by seen.campaign_id;

-- name: mark_attribution_months :exec
-- Marks months as stale.
insert into attribution_months (month, is_stale)
select month, true
from unnest($1::date[]) as m (month)
order by month
on conflict on constraint attribution_months_pkey do update set is_stale = true;

-- name: list_attribution_months :many
-- The months that were ever marked, and when they were counted last.
select month, counted_at
from attribution_months;

-- name: list_stale_attribution_months :many
-- The months that wait to be counted, the latest first: they are asked for most.
select month
from attribution_months
where is_stale
order by month desc;

-- name: finish_attribution_month :exec
-- Says that a month is counted with every event received before $2.
update attribution_months
set is_stale = false, counted_at = $2::timestamptz
where month = $1::date;

-- name: list_attribution_campaigns :many
-- The campaigns that have a currency, and their numbers.
select campaign_id, currency_code, currency_number, campaign_number
from attribution_campaigns
order by currency_number, campaign_number;

-- name: copy_attribution_moments :many
-- Touches from $1 and before $3, and conversions from $2 and before $4, of users in order; currencies and campaigns
-- by number (0: a plain purchase), days since 1970, times in microseconds, revenue net of refunds. All columns have
-- a fixed width, so that the binary form is an array. hashtext puts each user into one of $5 groups for good.
with moments as (
    select
        e.user_id, n.currency_number, n.campaign_number, e.event_type, e.event_id, e.counted_at, e.revenue_micros
    from events e
    join attribution_campaigns n on n.campaign_id = e.campaign_id
    where e.counted_at >= $1 and e.counted_at < $4 and case e.event_type
        when 1 then n.is_touched_by_delivery and not e.is_machine_open and e.counted_at < $3
        when 2 then not e.is_machine_open and e.counted_at < $3
        when 3 then not e.is_machine_open and e.counted_at < $3
        when 4 then e.counted_at >= $2
        else false
    end
    union all
    select e.user_id, n.currency_number, 0, e.event_type, e.event_id, e.counted_at, e.revenue_micros
    from events e
    join (select distinct currency_code, currency_number from attribution_campaigns) n
        on n.currency_code = e.currency_code
    where e.campaign_id is null and e.event_type = 4 and e.counted_at >= $2 and e.counted_at < $4
),
refunds as (
    select user_id, original_event_id, sum(revenue_micros) as revenue_micros
    from events
    where event_type = 5 and counted_at >= $2 and counted_at < $4
    group by user_id, original_event_id
)
select
    (dense_rank() over (order by m.user_id))::integer as user_number,
    ((hashtext(m.user_id)::bigint & 2147483647) % $5)::smallint as user_group,
    m.currency_number,
    m.campaign_number,
    (m.event_type = 4)::integer::smallint as is_conversion,
    ((m.counted_at at time zone z.reporting_time_zone)::date - date '1970-01-01')::integer as day,
    (extract(epoch from m.counted_at) * 1000000)::bigint as at_micros,
    case when m.event_type = 4
        then coalesce(m.revenue_micros, 0) - coalesce(r.revenue_micros, 0)::bigint
        else 0
    end::bigint as revenue_micros
from moments m
cross join reporting_settings z
left join refunds r on m.event_type = 4 and r.user_id = m.user_id and r.original_event_id = m.event_id
order by m.user_id, m.counted_at, m.event_type, m.event_id;

-- name: open_attribution :exec
-- Makes the session's staging tables, empty at every commit.
create temporary table if not exists staged_attribution_daily (
    campaign_id text not null,
    day date not null,
    model text not null,
    currency_code text not null,
    microconversions bigint not null,
    revenue_micros bigint not null,
    microconversions_without_group real[] not null
) on commit delete rows;
create temporary table if not exists staged_attribution_days (
    day date not null,
    currency_code text not null,
    conversions bigint not null,
    direct_conversions bigint not null,
    touched_purchases bigint not null,
    revenue_micros bigint not null,
    conversions_without_group real[] not null
) on commit delete rows;

-- name: delete_gone_attribution :exec
-- Deletes from the days from $1 to $2, both included, the credits that are not staged.
delete from attribution_daily t
where t.day between $1::date and $2::date
    and t.model in (
        'counted', 'direct', 'first_touch', 'last_touch', 'linear', 'time_decay', 'position_based', 'markov'
    )
    and not exists (
        select
        from staged_attribution_daily s
        where s.campaign_id = t.campaign_id and s.day = t.day and s.model = t.model
            and s.currency_code = t.currency_code
    );

-- name: merge_attribution :exec
-- Writes the staged credits that differ from those that are kept.
insert into attribution_daily as t (
    campaign_id, day, model, currency_code, microconversions, revenue_micros, microconversions_without_group
)
select
    campaign_id, day, model, currency_code, microconversions, revenue_micros, microconversions_without_group
from staged_attribution_daily
on conflict on constraint attribution_daily_pkey do update set
    microconversions = excluded.microconversions,
    revenue_micros = excluded.revenue_micros,
    microconversions_without_group = excluded.microconversions_without_group
where (t.microconversions, t.revenue_micros, t.microconversions_without_group)
    is distinct from
    (excluded.microconversions, excluded.revenue_micros, excluded.microconversions_without_group);

-- name: delete_attribution_days :exec
-- Deletes what was divided on the days from $1 to $2, both included.
delete from attribution_days
where day between $1::date and $2::date;

-- name: insert_attribution_days :exec
-- Writes what is staged of the days.
insert into attribution_days (
    day, currency_code, conversions, direct_conversions, touched_purchases, revenue_micros,
    conversions_without_group
)
select
    day, currency_code, conversions, direct_conversions, touched_purchases, revenue_micros,
    conversions_without_group
from staged_attribution_days;

-- name: fetch_attribution_as_of :one
-- The time before which every event received is in the credits of the days from $1 to $2, and the window they were
-- counted under; null where some of them were never counted.
select
    case when count(*) filter (where m.is_stale and m.counted_at is null) = 0
        then least(min(s.received_before), min(m.counted_at) filter (where m.is_stale))
    end as counted_before,
    min(s.lookback_days) as lookback_days
from attribution_state s
left join attribution_months m
    on m.month between date_trunc('month', $1::date)::date and $2::date;

-- name: list_campaign_credits :many
-- One campaign's credits by model over the days from $2 to $3, both included, in the currency $4.
select
    model, sum(microconversions)::bigint as microconversions, sum(revenue_micros)::bigint as revenue_micros
from attribution_daily
where campaign_id = $1::text and day between $2::date and $3::date and currency_code = $4::text
group by model
order by model;

-- name: list_credits_without_groups :many
-- The credits of some campaigns, one of the 20 groups of users after the other left out; none where none were kept.
select
    campaign_id, model,
    array[
        sum(microconversions_without_group[1]::float8), sum(microconversions_without_group[2]::float8),
        sum(microconversions_without_group[3]::float8), sum(microconversions_without_group[4]::float8),
        sum(microconversions_without_group[5]::float8), sum(microconversions_without_group[6]::float8),
        sum(microconversions_without_group[7]::float8), sum(microconversions_without_group[8]::float8),
        sum(microconversions_without_group[9]::float8), sum(microconversions_without_group[10]::float8),
        sum(microconversions_without_group[11]::float8), sum(microconversions_without_group[12]::float8),
        sum(microconversions_without_group[13]::float8), sum(microconversions_without_group[14]::float8),
        sum(microconversions_without_group[15]::float8), sum(microconversions_without_group[16]::float8),
        sum(microconversions_without_group[17]::float8), sum(microconversions_without_group[18]::float8),
        sum(microconversions_without_group[19]::float8), sum(microconversions_without_group[20]::float8)
    ] as microconversions
from attribution_daily
where campaign_id = any ($1::text[]) and day between $2::date and $3::date and currency_code = $4::text
    and model = any ($5::text[])
group by campaign_id, model
having count(*) = count(microconversions_without_group[1]);

-- name: fetch_attributed :one
-- What was divided over the days from $1 to $2, both included, in the currency $3.
select
    coalesce(sum(conversions), 0)::bigint as conversions,
    coalesce(sum(direct_conversions), 0)::bigint as direct_conversions,
    coalesce(sum(touched_purchases), 0)::bigint as touched_purchases,
    coalesce(sum(revenue_micros), 0)::bigint as revenue_micros
from attribution_days
where day between $1::date and $2::date and currency_code = $3::text;

-- name: fetch_attributed_without_groups :one
-- The conversions that were divided, one of the 20 groups of users after the other left out; nulls where none were.
select
    array[
        sum(conversions_without_group[1]::float8), sum(conversions_without_group[2]::float8),
        sum(conversions_without_group[3]::float8), sum(conversions_without_group[4]::float8),
        sum(conversions_without_group[5]::float8), sum(conversions_without_group[6]::float8),
        sum(conversions_without_group[7]::float8), sum(conversions_without_group[8]::float8),
        sum(conversions_without_group[9]::float8), sum(conversions_without_group[10]::float8),
        sum(conversions_without_group[11]::float8), sum(conversions_without_group[12]::float8),
        sum(conversions_without_group[13]::float8), sum(conversions_without_group[14]::float8),
        sum(conversions_without_group[15]::float8), sum(conversions_without_group[16]::float8),
        sum(conversions_without_group[17]::float8), sum(conversions_without_group[18]::float8),
        sum(conversions_without_group[19]::float8), sum(conversions_without_group[20]::float8)
    ] as conversions
from attribution_days
where day between $1::date and $2::date and currency_code = $3::text;

-- name: list_attribution_currencies :many
-- The currencies in which something was divided on the days from $1 to $2, both included.
select distinct currency_code
from attribution_days
where day between $1::date and $2::date
order by currency_code;

-- name: fetch_credit_sums :one
-- The sum of all campaigns' credits by the model $1 over the days from $2 to $3 in the currency $4.
select
    coalesce(sum(microconversions), 0)::bigint as microconversions,
    coalesce(sum(revenue_micros), 0)::bigint as revenue_micros
from attribution_daily
where model = $1::text and day between $2::date and $3::date and currency_code = $4::text;

-- name: list_portfolio_credits :many
-- Campaigns' credits by the model $1 over the days from $2 to $3 in the currency $4, the most conversions first,
-- behind the campaign $6 with $5 of them (null: from the top), $7 at most.
select campaign_id, microconversions, revenue_micros
from (
    select
        campaign_id, sum(microconversions)::bigint as microconversions,
        sum(revenue_micros)::bigint as revenue_micros
    from attribution_daily
    where model = $1::text and day between $2::date and $3::date and currency_code = $4::text
    group by campaign_id
) credits
where $5::bigint is null or microconversions < $5::bigint
    or (microconversions = $5::bigint and campaign_id > $6::text)
order by microconversions desc, campaign_id
limit $7::integer;
