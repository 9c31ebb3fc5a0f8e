-- Statements of audiences and of what offers must keep.

-- name: list_audience_outcomes :many
-- Views and conversions of campaigns $1 at times [$2, $3), by day of the zone $4 and the offer that they count under
-- in campaign_offer_daily, and by what the delivery said that they answer, the user's last one of the campaign up to
-- $5 before the first of these times: offer, segment set (null: unsegmented) and propensity to three decimals (where
-- the delivery has none: of whatever answers it). What answers no delivery says so itself.
with numbered as (
    select
        user_id, campaign_id, event_at, event_type, event_id, offer_amount_micros, segment_set_id, propensity,
        count(*) filter (where event_type = 1) over (
            partition by user_id, campaign_id order by event_at, event_type, event_id
        ) as delivery
    from analytics_v1.user_events
    where campaign_id = any($1::text[]) and event_type in (1, 2, 4) and event_at < $3
        and event_at >= case when event_type = 1 then $2::timestamptz - $5::interval else $2 end
),
answered as (
    select
        user_id, campaign_id, event_at, event_type, offer_amount_micros as counted_micros,
        first_value(offer_amount_micros) over sent as offer_micros,
        first_value(segment_set_id) over sent as segment_set_id,
        max(propensity) over (sent rows between unbounded preceding and unbounded following) as propensity
    from numbered
    -- Before the first delivery, each event is a group of its own.
    window sent as (
        partition by user_id, campaign_id, delivery, case when delivery = 0 then event_id end
        order by event_at, event_type, event_id
    )
)
select
    campaign_id, (event_at at time zone $4)::date as day, coalesce(offer_micros, counted_micros) as offer_micros,
    segment_set_id, round(propensity::numeric, 3)::double precision as propensity,
    count(*) filter (where event_type = 2) as views,
    count(*) filter (where event_type = 4) as conversions,
    counted_micros
from answered
where event_type in (2, 4) and coalesce(offer_micros, counted_micros) is not null
group by 1, 2, 3, 4, 5, counted_micros;

-- name: delete_campaign_audiences :exec
-- Forget what was counted for versions $2.
delete from campaign_audiences
where model_name = $1 and model_version = any($2::bigint[]);

-- name: count_campaign_audiences :exec
-- Count who viewed every campaign at times [$1, $2), the window's days in the reporting zone, by offer and segment set,
-- for version $4 of model $3. Both are what the view itself carries, and not the delivery that it answers: these are
-- looked up by the offers of campaign_offer_daily, which counts views in the same way.
insert into campaign_audiences (
    model_name, model_version, campaign_id, offer_amount_micros, segment_set_id, views
)
select $3, $4, campaign_id, offer_amount_micros, coalesce(segment_set_id, 0), count(*)
from analytics_v1.user_events
where campaign_id is not null and event_at >= $1 and event_at < $2 and event_type = 2
    and offer_amount_micros is not null
group by 3, 4, 5;

-- name: list_campaign_audiences :many
-- Who viewed campaigns $3 at which offer, as counted for version $2 of model $1.
select campaign_id, offer_amount_micros, segment_set_id, views
from campaign_audiences
where model_name = $1 and model_version = $2 and campaign_id = any($3::text[]);

-- name: fetch_offer_constraints :one
-- What offers in a scope (campaign or merchant) must keep.
select maximum_offer_micros, minimum_profit_margin, daily_budget_micros, actor, comment, updated_at
from offer_constraints
where scope = $1 and scope_id = $2;

-- name: lock_offer_constraints :exec
-- Makes what offers in a scope must keep this transaction's to change.
select pg_advisory_xact_lock(hashtextextended('optimizer.offer_constraints/' || $1::text, 0));

-- name: upsert_offer_constraints :exec
-- Set what offers in a scope must keep, in place of what was set before.
insert into offer_constraints (
    scope, scope_id, maximum_offer_micros, minimum_profit_margin, daily_budget_micros, actor, comment, updated_at
)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (scope, scope_id) do update set
    maximum_offer_micros = excluded.maximum_offer_micros,
    minimum_profit_margin = excluded.minimum_profit_margin,
    daily_budget_micros = excluded.daily_budget_micros,
    actor = excluded.actor,
    comment = excluded.comment,
    updated_at = excluded.updated_at;
