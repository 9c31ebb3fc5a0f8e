-- Deliveries whose offers were drawn, and what came of them.

-- name: list_logged_decisions :many
-- Deliveries of the campaigns $1 in [$2, $3) with a propensity, at most $6, the latest: day and hour in the time zone
-- $5, and what the user did in the campaign until the next delivery, at most $4 later: one after $3 ends an outcome
-- too. A refund takes from its conversion's revenue.
with sent as (
    select
        e.campaign_id, e.user_id, e.event_at, e.offer_amount_micros, e.propensity, e.policy_version,
        e.segment_set_id,
        least(
            lead(e.event_at) over (partition by e.campaign_id, e.user_id order by e.event_at, e.event_id),
            e.event_at + $4::interval
        ) as until_at
    from analytics_v1.user_events e
    where
        e.campaign_id = any($1::text[]) and e.event_type = 1
        and e.event_at >= $2 and e.event_at < $3::timestamptz + $4::interval
),
drawn as (
    select row_number() over (order by event_at desc, user_id, campaign_id) as decision, sent.*
    from sent
    where event_at < $3 and propensity is not null and offer_amount_micros is not null
    order by event_at desc, user_id, campaign_id
    limit $6::bigint
),
bought as (
    select
        c.campaign_id, c.user_id, c.event_at,
        coalesce(c.revenue_micros, 0) - coalesce(
            (
                select sum(r.revenue_micros)
                from analytics_v1.user_events r
                where r.user_id = c.user_id and r.original_event_id = c.event_id and r.event_type = 5
            ), 0
        )::bigint as revenue_micros
    from analytics_v1.user_events c
    where
        c.campaign_id = any($1::text[]) and c.event_type = 4
        and c.event_at >= $2 and c.event_at < $3 + $4::interval
)
select
    d.campaign_id, d.user_id, (d.event_at at time zone $5::text)::date as day,
    extract(hour from d.event_at at time zone $5::text)::integer as hour, d.policy_version, d.segment_set_id,
    d.offer_amount_micros, d.propensity, count(b.user_id) as conversions,
    coalesce(sum(b.revenue_micros), 0)::bigint as revenue_micros
from drawn d
left join bought b
    on b.campaign_id = d.campaign_id and b.user_id = d.user_id
    and b.event_at >= d.event_at and b.event_at < d.until_at
group by
    d.decision, d.campaign_id, d.user_id, d.event_at, d.policy_version, d.segment_set_id, d.offer_amount_micros,
    d.propensity
order by d.decision;

-- name: list_campaign_currencies :many
-- The currencies that the campaigns $1 count in.
select distinct currency_code
from analytics_v1.campaigns
where campaign_id = any($1::text[]) and currency_code is not null
order by currency_code;

-- name: list_unknown_segments :many
-- Those of the names $1 that are in no set of segments, in their order.
select asked.name
from unnest($1::text[]) with ordinality as asked (name, place)
where not exists (select 1 from analytics_v1.segment_sets s where asked.name = any(s.segments))
order by asked.place;

-- name: list_segment_sets :many
-- The segments behind the numbers $1.
select segment_set_id, segments
from analytics_v1.segment_sets
where segment_set_id = any($1::integer[]);
