-- What campaigns earned before and after a change.

-- name: list_earning_moments :many
-- Sums and products of what happened on two sides (number $1: 0 before, 1 after): of the campaign $2, from $3 to $4, at
-- the offer $5 as sent (null: at any). Trials are views ($7 = 2) or impressions (1); money in currency units. Events are
-- read where $8, and clustered by user, by day of the zone $6, and by both; else the days' sums, by day alone. A refund
-- takes from its original's day and offer. Grouped once each way: grouping sets are not for tables of users.
with sides as materialized (
    select *
    from unnest($1::integer[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::bigint[])
        as asked (side, campaign_id, first_at, end_at, offer_micros)
),
taken as (
    select
        s.side, s.offer_micros, e.user_id, (e.counted_at at time zone $6::text)::date as day, e.event_type,
        e.revenue_micros,
        case when e.event_type = 5 then original.offer_amount_micros else e.offer_amount_micros end as sent_micros
    from sides s
    join analytics_v1.campaign_user_events e
        on e.campaign_id = s.campaign_id and e.event_at >= s.first_at
        and e.counted_at >= s.first_at and e.counted_at < s.end_at
    left join analytics_v1.campaign_user_events original
        on e.event_type = 5 and original.user_id = e.user_id and original.event_id = e.original_event_id
    where $8::boolean and e.event_type in ($7::integer, 4, 5)
),
told as materialized (
    select
        side, user_id, day,
        (count(*) filter (where event_type = $7::integer))::double precision as trials,
        count(*) filter (where event_type = 4) as conversions,
        count(*) filter (where event_type = 4 and sent_micros is null) as unpriced,
        sum(case event_type when 4 then revenue_micros when 5 then -revenue_micros end)::double precision / 1e6
            as revenue,
        (sum(sent_micros) filter (where event_type = 4))::double precision / 1e6 as redeemed
    from taken
    where offer_micros is null or sent_micros = offer_micros
    group by side, user_id, day
    union all
    select s.side, null, d.day, d.trials, d.conversions, d.unpriced, d.revenue, d.redeemed
    from sides s
    cross join lateral (
        -- Added up for each side by itself: a join would first add up every campaign's days.
        select
            day, sum(case $7::integer when 1 then impressions else views end)::double precision as trials,
            sum(conversions)::bigint as conversions,
            (sum(conversions) filter (where offer_amount_micros is null))::bigint as unpriced,
            sum(revenue_micros)::double precision / 1e6 as revenue,
            sum(conversions * offer_amount_micros)::double precision / 1e6 as redeemed
        from analytics_v1.campaign_offer_daily
        where
            not $8::boolean and campaign_id = s.campaign_id
            and day >= (s.first_at at time zone $6::text)::date and day < (s.end_at at time zone $6::text)::date
            and (s.offer_micros is null or offer_amount_micros = s.offer_micros)
        group by day
    ) d
),
measured as materialized (
    select
        user_id, day,
        coalesce(sum(trials) filter (where side = 0), 0) as x0,
        coalesce(sum(revenue) filter (where side = 0), 0) as r0,
        coalesce(sum(redeemed) filter (where side = 0), 0) as p0,
        coalesce(sum(trials) filter (where side = 1), 0) as x1,
        coalesce(sum(revenue) filter (where side = 1), 0) as r1,
        coalesce(sum(redeemed) filter (where side = 1), 0) as p1,
        coalesce(sum(conversions) filter (where side = 0), 0)::double precision as conversions0,
        coalesce(sum(conversions) filter (where side = 1), 0)::double precision as conversions1,
        coalesce(sum(unpriced) filter (where side = 0), 0)::double precision as unpriced0,
        coalesce(sum(unpriced) filter (where side = 1), 0)::double precision as unpriced1
    from told
    group by user_id, day
),
clusters as (
    select
        'day' as level, sum(x0) as x0, sum(r0) as r0, sum(p0) as p0, sum(x1) as x1, sum(r1) as r1, sum(p1) as p1,
        sum(conversions0) as conversions0, sum(conversions1) as conversions1, sum(unpriced0) as unpriced0,
        sum(unpriced1) as unpriced1
    from measured
    group by day
    union all
    select
        'user', sum(x0), sum(r0), sum(p0), sum(x1), sum(r1), sum(p1), sum(conversions0), sum(conversions1),
        sum(unpriced0), sum(unpriced1)
    from measured
    where $8::boolean
    group by user_id
    union all
    select 'user_day', x0, r0, p0, x1, r1, p1, conversions0, conversions1, unpriced0, unpriced1
    from measured
    where $8::boolean
)
select
    level,
    array[count(*) filter (where x0 > 0), count(*) filter (where x1 > 0)] as clusters,
    array[sum(conversions0), sum(conversions1)]::bigint[] as conversions,
    array[sum(unpriced0), sum(unpriced1)]::bigint[] as unpriced,
    array[sum(x0), sum(r0), sum(p0), sum(x1), sum(r1), sum(p1)] as sums,
    array[
        sum(x0 * x0), sum(x0 * r0), sum(x0 * p0), sum(x0 * x1), sum(x0 * r1), sum(x0 * p1),
        sum(r0 * r0), sum(r0 * p0), sum(r0 * x1), sum(r0 * r1), sum(r0 * p1),
        sum(p0 * p0), sum(p0 * x1), sum(p0 * r1), sum(p0 * p1),
        sum(x1 * x1), sum(x1 * r1), sum(x1 * p1),
        sum(r1 * r1), sum(r1 * p1),
        sum(p1 * p1)
    ] as products
from clusters
group by level
order by level;
