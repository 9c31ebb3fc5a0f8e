-- name: is_affinity_free :one
-- Whether no other transaction fits or keeps scores just now.
select pg_try_advisory_xact_lock(hashtextextended('optimizer.affinity', 0)) as is_free;

-- name: lock_affinity :one
-- Wait until no other transaction fits or keeps scores, then keep others out until this one ends.
select pg_advisory_xact_lock(hashtextextended('optimizer.affinity', 0))::text as locked;

-- name: list_affinity_merchants :many
-- The merchants of the catalog, by id.
select merchant_id, coalesce(merchant_name, '') as merchant_name, coalesce(category, '') as category,
    latitude, longitude
from analytics_v1.merchants
order by merchant_id;

-- name: list_contact_users :many
-- The next users after one who met a merchant since a time, by id.
select distinct user_id
from analytics_v1.user_events
where user_id > $1 and event_at >= $2 and event_type in (4, 7) and merchant_id is not null
order by user_id
limit $3;

-- name: list_contacts :many
-- The days since a time on which users met merchants: kind 0 by a purchase outside campaigns, 1 by one in a campaign,
-- 2 by passing. Days are those of zone $3.
select user_id, merchant_id,
    case when event_type = 7 then 2 when campaign_id is null then 0 else 1 end as kind,
    (event_at at time zone $3)::date as day
from analytics_v1.user_events
where user_id = any($1::text[]) and event_at >= $2 and event_type in (4, 7) and merchant_id is not null
group by 1, 2, 3, 4;

-- name: list_exposures :many
-- The views of campaigns since a time, and conversions in them, by user, campaign, offer and day of the zone $3; the
-- merchant is the campaign's own.
select e.user_id, e.campaign_id, c.merchant_id, coalesce(e.offer_amount_micros, -1) as offer_micros,
    (e.event_at at time zone $3)::date as day,
    count(*) filter (where e.event_type = 2) as views,
    count(*) filter (where e.event_type = 4) as conversions
from analytics_v1.user_events e
join analytics_v1.campaigns c using (campaign_id)
where e.user_id = any($1::text[]) and e.event_at >= $2 and e.event_type in (2, 4) and c.merchant_id is not null
group by 1, 2, 3, 4, 5
having count(*) filter (where e.event_type = 2) > 0;

-- name: list_changed_users :many
-- The next users after one who met a merchant by events that came in since a time, by id.
select distinct user_id
from analytics_v1.user_events
where user_id > $1 and received_at >= $2 and event_type in (4, 7) and merchant_id is not null
order by user_id
limit $3;

-- name: has_changed_users :one
-- Whether anybody met a merchant by events that came in since a time.
select exists (
    select 1 from analytics_v1.user_events
    where received_at >= $1 and event_type in (4, 7) and merchant_id is not null
) as has_changed;

-- name: fetch_user_standing :one
-- Whether the catalog knows a user, whether any event does, and when the newest one came in by which they met a
-- merchant.
select
    exists (select 1 from analytics_v1.users where user_id = $1) as in_catalog,
    exists (select 1 from analytics_v1.user_events where user_id = $1) as in_events,
    (
        select max(received_at) from analytics_v1.user_events
        where user_id = $1 and event_type in (4, 7) and merchant_id is not null
    ) as newest_contact_at;

-- name: fetch_live_affinity_version :one
-- The live version, when it was fitted, until when kept scores hold what came in, and since when users are scored.
select version, fitted_at, refreshed_until, pass_started_at
from optimizer.affinity_models
where status = 'live';

-- name: fetch_newest_affinity_version :one
-- The highest version there ever was, 0 for none.
select coalesce(max(version), 0) as version
from optimizer.affinity_models;

-- name: fetch_affinity_model :one
-- One version.
select version, parameters
from optimizer.affinity_models
where version = $1;

-- name: list_affinity_model_merchants :many
-- The merchants that a version knows, by id, as the catalog has them now.
select k.merchant_id, k.visitor_share, k.weekly_share, coalesce(m.merchant_name, '') as merchant_name,
    coalesce(m.category, '') as category, m.latitude, m.longitude
from optimizer.affinity_merchants k
left join analytics_v1.merchants m using (merchant_id)
where k.version = $1
order by k.merchant_id;

-- name: pack_merchant_similarities :one
-- The similarities that a version keeps, packed: a million rows are three values, in the order of bytes of the network.
select
    coalesce(string_agg(int4send(merchant_id), ''::bytea order by merchant_id, neighbour_id), ''::bytea) as merchants,
    coalesce(string_agg(int4send(neighbour_id), ''::bytea order by merchant_id, neighbour_id), ''::bytea) as neighbours,
    coalesce(string_agg(float8send(similarity), ''::bytea order by merchant_id, neighbour_id), ''::bytea)
        as similarities
from optimizer.merchant_similarities
where version = $1;

-- name: retire_live_affinity_model :exec
-- Take the live version out of service; what it kept beside its row is removed.
update optimizer.affinity_models
set status = 'retired', status_reason = $1
where status = 'live';

-- name: delete_affinity_details :exec
-- Remove the merchants and similarities of versions that are not live.
with merchants as (
    delete from optimizer.affinity_merchants
    where version in (select version from optimizer.affinity_models where status <> 'live')
)
delete from optimizer.merchant_similarities
where version in (select version from optimizer.affinity_models where status <> 'live');

-- name: insert_affinity_model :exec
-- Keep a fitted version.
insert into optimizer.affinity_models (
    version, status, status_reason, fitted_at, end_day, users, visits, log_loss, frequency_log_loss, calibration_error,
    recall_at_three, frequency_recall_at_three, popularity_recall_at_three, parameters
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14::jsonb);

-- name: insert_affinity_merchants :exec
-- Keep what a version knows of merchants.
insert into optimizer.affinity_merchants (version, merchant_id, visitor_share, weekly_share)
select $1, m.merchant_id, m.visitor_share, m.weekly_share
from unnest($2::integer[], $3::double precision[], $4::double precision[])
    as m (merchant_id, visitor_share, weekly_share);

-- name: insert_merchant_similarities :exec
-- Keep a version's similarities.
insert into optimizer.merchant_similarities (version, merchant_id, neighbour_id, similarity)
select $1, s.merchant_id, s.neighbour_id, s.similarity
from unnest($2::integer[], $3::integer[], $4::double precision[]) as s (merchant_id, neighbour_id, similarity);

-- name: begin_affinity_pass :one
-- Begin to score users by a version, or go on with what was begun.
update optimizer.affinity_models
set pass_started_at = coalesce(pass_started_at, now())
where version = $1
returning refreshed_until, pass_user_id;

-- name: update_affinity_pass :exec
-- Say up to whom users are scored.
update optimizer.affinity_models
set pass_user_id = $2
where version = $1;

-- name: end_affinity_pass :exec
-- Say that all are scored: what came in before it began is held.
update optimizer.affinity_models
set refreshed_until = pass_started_at, pass_started_at = null, pass_user_id = ''
where version = $1;

-- name: fetch_transaction_time :one
-- When this transaction began.
select now() as began_at;

-- name: list_kept_affinities :many
-- A user's kept merchants by a version, best first.
select a.merchant_id, coalesce(m.merchant_name, '') as merchant_name, a.affinity_score, a.reasons, a.computed_at,
    a.is_returning, a.distance_km, a.received_until
from optimizer.user_merchant_affinity a
left join analytics_v1.merchants m using (merchant_id)
where a.user_id = $1 and a.model_version = $2
order by a.affinity_score desc, a.merchant_id
limit $3;

-- name: delete_user_affinities :exec
-- Forget the kept merchants of users.
delete from optimizer.user_merchant_affinity
where user_id = any($1::text[]);

-- name: delete_outdated_affinities :exec
-- Forget what earlier versions kept: of users who met no merchant for long.
delete from optimizer.user_merchant_affinity
where model_version is distinct from $1;
