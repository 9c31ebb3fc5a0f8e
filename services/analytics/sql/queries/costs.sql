-- Imported costs: kept by campaign, day and channel. What changes is counted by count_cost_changes.

-- name: keep_costs :many
-- Keeps costs (campaigns $1, days $2, channels $3, currencies $4, amounts $5, each key once) in the place of those
-- before, and returns what that adds to each campaign's day, whatever the channel; a row that is new adds its
-- amount, even 0. Writers of costs must come one after the other.
with changes as materialized (
    select
        g.campaign_id, g.day, g.channel, g.currency_code, g.cost_micros,
        g.cost_micros - coalesce(k.cost_micros, 0) as change_micros
    from unnest($1::text[], $2::date[], $3::smallint[], $4::text[], $5::bigint[])
        as g (campaign_id, day, channel, currency_code, cost_micros)
    left join campaign_daily_costs k
        on k.campaign_id = g.campaign_id and k.day = g.day and k.channel = g.channel
    where k.cost_micros is distinct from g.cost_micros
),
kept as (
    insert into campaign_daily_costs as t (campaign_id, day, channel, currency_code, cost_micros)
    select campaign_id, day, channel, currency_code, cost_micros
    from changes
    order by campaign_id, day, channel
    on conflict on constraint campaign_daily_costs_pkey do update set
        cost_micros = excluded.cost_micros,
        imported_at = now()
)
select
    campaign_id, day, currency_code, sum(change_micros)::bigint as cost_micros, count(*) as changed_costs
from changes
group by campaign_id, day, currency_code;

-- name: list_costs :many
-- Costs of all campaigns from day $4 to day $5 after (campaign $1, day $2, channel $3), in that order: one short
-- range of the key for each campaign, so that no other days are read.
select k.campaign_id, k.day, k.channel, k.currency_code, k.cost_micros
from campaigns c
cross join lateral (
    select d.campaign_id, d.day, d.channel, d.currency_code, d.cost_micros
    from campaign_daily_costs d
    where d.campaign_id = c.campaign_id and d.day between $4::date and $5::date
        and (d.campaign_id, d.day, d.channel) > ($1::text, $2::date, $3::smallint)
    order by d.day, d.channel
    limit $6::integer
) k
where c.campaign_id >= $1::text
order by c.campaign_id, k.day, k.channel
limit $6::integer;

-- name: list_campaign_costs :many
-- Costs of campaign $1 from day $4 to day $5 after (day $2, channel $3), in that order.
select campaign_id, day, channel, currency_code, cost_micros
from campaign_daily_costs
where campaign_id = $1::text and day between $4::date and $5::date
    and (day, channel) > ($2::date, $3::smallint)
order by day, channel
limit $6::integer;
