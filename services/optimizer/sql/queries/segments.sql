-- Segments of campaigns, and of the users of tests.

-- name: list_segment_sums :many
-- Sums over the users of each segment of each campaign of the type $1, as measured last, with the whole campaign's
-- views and conversions.
select
    m.campaign_id, m.segment_name, m.users, m.views, m.conversions, m.views_views, m.views_conversions,
    m.conversions_conversions, t.campaign_views, t.campaign_conversions
from analytics_v1.campaigns c
join analytics_v1.campaign_segment_moments m on m.campaign_id = c.campaign_id and m.segmentation = 'given'
cross join lateral (
    select
        coalesce(sum(d.views), 0)::bigint as campaign_views,
        coalesce(sum(d.conversions), 0)::bigint as campaign_conversions
    from analytics_v1.campaign_offer_daily d
    where d.campaign_id = c.campaign_id
) t
where c.campaign_type = $1::smallint
order by m.campaign_id, m.segment_name;

-- name: list_offer_viewers :many
-- Who viewed which offer of the campaigns of the type $1, as counted for the live version of model $2, with everybody's
-- conversion rate at the offer: of the $3 campaigns that were viewed most, or of fewer with at most $4 rows together.
with counted as materialized (
    select a.campaign_id, a.offer_amount_micros, a.segment_set_id, a.views
    from ml_models live
    join campaign_audiences a on a.model_name = live.model_name and a.model_version = live.version
    join analytics_v1.campaigns c on c.campaign_id = a.campaign_id and c.campaign_type = $1::smallint
    where live.model_name = $2 and live.status = 'live'
),
most_viewed as materialized (
    select campaign_id
    from (
        select
            campaign_id, row_number() over most_first as place, sum(count(*)) over most_first as rows_so_far
        from counted
        group by campaign_id
        window most_first as (order by sum(views) desc, campaign_id)
    ) ranked
    where place <= $3::bigint and rows_so_far <= $4::bigint
),
offers as materialized (
    select m.campaign_id, d.offer_amount_micros, d.rate
    from most_viewed m
    cross join lateral (
        -- By itself for each campaign: a join would first add up every campaign's days.
        select
            offer_amount_micros, least(sum(conversions)::double precision / sum(views), 1) as rate
        from analytics_v1.campaign_offer_daily
        where campaign_id = m.campaign_id and offer_amount_micros is not null
        group by offer_amount_micros
        having sum(views) > 0
    ) d
)
select campaign_id, a.offer_amount_micros, a.segment_set_id, a.views, o.rate
from counted a
join offers o using (campaign_id, offer_amount_micros);

-- name: fetch_user_recurrence :one
-- By how much users who meet many campaigns of the type $1 add to the variance over campaigns; null where it was not
-- measured.
select (document -> 'recurrence' ->> $1::integer)::double precision as recurrence
from send_time_profiles
where profile_name = 'everybody';

-- name: list_test_cells :many
-- Users and converting users, by weight epoch and set of segments, of either side of the tests whose variant is the
-- campaign $1: of the $2 such variants whose tests began last. Assignments are read once a test and conversions once a
-- campaign, however many tests and users there are; a user converted where the last conversion before the test's end
-- does not lie before the assignment, which is looked up by its key. Lists that nothing is known of are added up and not
-- joined: a join of two may take quadratic time.
with pairs as materialized (
    select
        v.test_id, v.group_name as variant_name, v.group_index as variant_index, v.campaign_id as variant_campaign_id,
        k.group_index as control_index, k.campaign_id as control_campaign_id, v.started_at,
        coalesce(v.ended_at, 'infinity') as ended_at
    from abtest_v1.begun_test_groups v
    join abtest_v1.begun_test_groups k on k.test_id = v.test_id and k.is_control
    where v.campaign_id = $1::text and not v.is_control
    order by v.started_at desc, v.test_id, v.group_index
    limit $2::bigint
),
sides as materialized (
    select test_id, variant_index as group_index, variant_campaign_id as campaign_id, started_at, ended_at
    from pairs
    union
    select test_id, control_index, control_campaign_id, started_at, ended_at
    from pairs
),
bought as materialized (
    select e.campaign_id, e.user_id, e.event_at
    from (
        select campaign_id, min(started_at) as started_at, max(ended_at) as ended_at
        from sides
        group by campaign_id
    ) c
    join analytics_v1.user_events e
        on e.campaign_id = c.campaign_id and e.event_at >= c.started_at and e.event_at < c.ended_at
    where e.event_type = 4
),
converted as (
    select s.test_id, s.group_index, b.user_id, max(b.event_at) as bought_at
    from sides s
    join bought b on b.campaign_id = s.campaign_id and b.event_at >= s.started_at and b.event_at < s.ended_at
    group by s.test_id, s.group_index, b.user_id
),
counts as (
    select a.test_id, a.group_index, a.epoch, a.segment_set_id, count(*) as users, 0::bigint as converting
    from (select distinct test_id from pairs) t
    join abtest_v1.test_assignments a on a.test_id = t.test_id
    group by a.test_id, a.group_index, a.epoch, a.segment_set_id
    union all
    select a.test_id, a.group_index, a.epoch, a.segment_set_id, 0 as users, count(*) as converting
    from converted c
    join abtest_v1.test_assignments a on a.test_id = c.test_id and a.user_id = c.user_id
    where a.group_index = c.group_index and c.bought_at >= a.assigned_at
    group by a.test_id, a.group_index, a.epoch, a.segment_set_id
),
cells as materialized (
    select
        test_id, group_index, epoch, segment_set_id, sum(users)::bigint as users,
        sum(converting)::bigint as converting
    from counts
    group by test_id, group_index, epoch, segment_set_id
)
select
    p.test_id, p.variant_name, p.control_campaign_id, p.started_at,
    case when p.ended_at < 'infinity' then p.ended_at end as ended_at, c.group_index = p.control_index as is_control,
    c.epoch, c.segment_set_id, c.users, c.converting
from pairs p
join cells c on c.test_id = p.test_id and c.group_index in (p.variant_index, p.control_index)
order by p.test_id, p.variant_name, is_control, c.epoch, c.segment_set_id;

-- name: list_drawn_cells :many
-- Deliveries of the campaign $1 in [$2, $3) whose offer was drawn with a known propensity, by logging policy, day in the
-- time zone $4, offer and propensity.
select
    coalesce(policy_version, '') as policy_version, (event_at at time zone $4::text)::date as day,
    offer_amount_micros, propensity, count(*) as deliveries
from analytics_v1.user_events
where
    campaign_id = $1 and event_type = 1 and event_at >= $2 and event_at < $3 and propensity is not null
    and offer_amount_micros is not null
group by 1, 2, 3, 4;

-- name: join_by_hashes :exec
-- Has the statements of this transaction join lists by hashes: of events that were never analyzed the planner takes a few
-- rows to come, and compares millions with each other pair by pair.
set local enable_nestloop = off;

-- name: list_offer_moments :many
-- Of each segment: its users on either side, and sums and products over its users, of the deliveries of the campaign $1
-- in [$2, $3) that were drawn under the policies $6 on the days $7 (of the time zone $5) at the offers $8, which are high
-- or low ($9). x: a user's deliveries by 1 / propensity; y: the conversions that followed each in the same way, until the
-- next delivery, at most $4 later: one after $3 ends an outcome too. Only what users did who converted is put in order.
with sides as materialized (
    select policy_version, day, offer_amount_micros, is_high
    from unnest($6::text[], $7::date[], $8::bigint[], $9::boolean[])
        as side (policy_version, day, offer_amount_micros, is_high)
),
acts as (
    select
        user_id, event_type, event_at, offer_amount_micros, propensity, policy_version, segment_set_id,
        count(*) filter (where event_type = 1) over in_order as delivery,
        max(event_at) filter (where event_type = 1) over in_order as sent_at
    from analytics_v1.user_events
    where
        campaign_id = $1 and event_type in (1, 4) and event_at >= $2 and event_at < $3::timestamptz + $4::interval
        and user_id in (
            select user_id
            from analytics_v1.user_events
            where
                campaign_id = $1 and event_type = 4 and event_at >= $2
                and event_at < $3::timestamptz + $4::interval
        )
    window in_order as (partition by user_id order by event_at, event_type, event_id)
),
answered as (
    select
        user_id, sent_at, max(offer_amount_micros) filter (where event_type = 1) as offer_amount_micros,
        max(propensity) filter (where event_type = 1) as propensity,
        max(policy_version) filter (where event_type = 1) as policy_version,
        max(segment_set_id) filter (where event_type = 1) as segment_set_id,
        count(*) filter (where event_type = 4 and event_at < sent_at + $4::interval) as conversions
    from acts
    where sent_at < $3
    group by user_id, delivery, sent_at
),
weighed as (
    select
        user_id, segment_set_id, offer_amount_micros, policy_version, event_at, 1.0 / propensity as x,
        0.0::double precision as y
    from analytics_v1.user_events
    where
        campaign_id = $1 and event_type = 1 and event_at >= $2 and event_at < $3 and propensity is not null
        and segment_set_id is not null
    union all
    select user_id, segment_set_id, offer_amount_micros, policy_version, sent_at, 0.0, conversions / propensity
    from answered
    where conversions > 0 and propensity is not null and segment_set_id is not null
),
by_set as (
    select
        w.user_id, w.segment_set_id,
        coalesce(sum(w.x) filter (where s.is_high), 0.0) as high_x,
        coalesce(sum(w.y) filter (where s.is_high), 0.0) as high_y,
        coalesce(sum(w.x) filter (where not s.is_high), 0.0) as low_x,
        coalesce(sum(w.y) filter (where not s.is_high), 0.0) as low_y
    from weighed w
    join sides s
        on s.offer_amount_micros = w.offer_amount_micros and s.policy_version = coalesce(w.policy_version, '')
        and s.day = (w.event_at at time zone $5::text)::date
    group by w.user_id, w.segment_set_id
),
by_user as (
    select
        n.segment_name, b.user_id, sum(b.high_x) as high_x, sum(b.high_y) as high_y, sum(b.low_x) as low_x,
        sum(b.low_y) as low_y
    from by_set b
    join analytics_v1.segment_sets t using (segment_set_id)
    cross join unnest(t.segments) as n (segment_name)
    group by n.segment_name, b.user_id
)
select
    segment_name, count(*) filter (where high_x > 0) as high_users, count(*) filter (where low_x > 0) as low_users,
    sum(high_x) as high_x, sum(high_y) as high_y, sum(low_x) as low_x, sum(low_y) as low_y,
    sum(high_x * high_x) as high_xx, sum(high_x * high_y) as high_xy, sum(high_y * high_y) as high_yy,
    sum(low_x * low_x) as low_xx, sum(low_x * low_y) as low_xy, sum(low_y * low_y) as low_yy,
    sum(high_x * low_x) as cross_xx, sum(high_x * low_y) as cross_xy, sum(high_y * low_x) as cross_yx,
    sum(high_y * low_y) as cross_yy
from by_user
group by segment_name
order by segment_name;
