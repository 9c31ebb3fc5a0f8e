-- Campaigns, merchants, users. Own tables are unqualified in every file here: the role's search path finds them.

-- name: lock_catalog :exec
-- Waits for batches under way and keeps others out until the transaction ends.
select pg_advisory_xact_lock(7202, 1);

-- name: list_known_merchants :many
-- Those of some merchants that are in the catalog, with their currencies.
select merchant_id, currency_code
from merchants
where merchant_id = any ($1::integer[]);

-- name: list_fixed_currencies :many
-- The currencies of those of some campaigns that have events.
select campaign_id, counted_currency_code
from campaigns
where campaign_id = any ($1::text[]) and counted_currency_code is not null;

-- name: upsert_campaigns :exec
-- Creates campaigns or takes their place; the arrays hold one element per campaign.
insert into campaigns as t (
    campaign_id, campaign_name, campaign_type, merchant_id, channel, offer_amount_micros, gross_margin_rate,
    currency_code, start_at, end_at
)
select *
from unnest(
    $1::text[], $2::text[], $3::smallint[], $4::integer[], $5::smallint[], $6::bigint[],
    $7::double precision[], $8::text[], $9::timestamptz[], $10::timestamptz[]
) as s (
    campaign_id, campaign_name, campaign_type, merchant_id, channel, offer_amount_micros, gross_margin_rate,
    currency_code, start_at, end_at
)
order by s.campaign_id
on conflict on constraint campaigns_pkey do update set
    campaign_name = excluded.campaign_name,
    campaign_type = excluded.campaign_type,
    merchant_id = excluded.merchant_id,
    channel = excluded.channel,
    offer_amount_micros = excluded.offer_amount_micros,
    gross_margin_rate = excluded.gross_margin_rate,
    currency_code = excluded.currency_code,
    start_at = excluded.start_at,
    end_at = excluded.end_at,
    updated_at = now();

-- name: list_campaigns :many
-- Campaigns after a campaign_id, by campaign_id.
select
    campaign_id, campaign_name, campaign_type, merchant_id, channel, offer_amount_micros, gross_margin_rate,
    coalesce(currency_code, counted_currency_code) as currency_code, start_at, end_at
from campaigns
where campaign_id > $1::text
order by campaign_id
limit $2::integer;

-- name: upsert_merchants :exec
-- Creates merchants or takes their place; the arrays hold one element per merchant.
insert into merchants as t (merchant_id, merchant_name, category, latitude, longitude, currency_code)
select *
from unnest(
    $1::integer[], $2::text[], $3::text[], $4::double precision[], $5::double precision[], $6::text[]
) as s (merchant_id, merchant_name, category, latitude, longitude, currency_code)
order by s.merchant_id
on conflict on constraint merchants_pkey do update set
    merchant_name = excluded.merchant_name,
    category = excluded.category,
    latitude = excluded.latitude,
    longitude = excluded.longitude,
    currency_code = excluded.currency_code,
    updated_at = now();

-- name: list_merchants :many
-- Merchants after a merchant_id, by merchant_id.
select merchant_id, merchant_name, category, latitude, longitude, currency_code
from merchants
where merchant_id > $1::integer
order by merchant_id
limit $2::integer;

-- name: ensure_segment_set :one
-- Keeps a set of segments, if it is new, and returns its number; the segments are sorted.
with created as (
    insert into segment_sets (segments)
    values ($1::text[])
    on conflict on constraint segment_sets_segments_key do nothing
    returning segment_set_id
)
select segment_set_id
from created
union all
select segment_set_id
from segment_sets
where segments = $1::text[]
limit 1;

-- name: upsert_users :exec
-- Creates users or takes their place; the arrays hold one element per user.
insert into users as t (user_id, sign_up_at, time_zone, segment_set_id)
select *
from unnest($1::text[], $2::timestamptz[], $3::text[], $4::integer[])
    as s (user_id, sign_up_at, time_zone, segment_set_id)
order by s.user_id
on conflict on constraint users_pkey do update set
    sign_up_at = excluded.sign_up_at,
    time_zone = excluded.time_zone,
    segment_set_id = excluded.segment_set_id,
    updated_at = now();

-- name: list_users :many
-- Users after a user_id, by user_id.
select u.user_id, u.sign_up_at, u.time_zone, coalesce(s.segments, '{}'::text[]) as segments
from users u
left join segment_sets s on s.segment_set_id = u.segment_set_id
where u.user_id > $1::text
order by u.user_id
limit $2::integer;
