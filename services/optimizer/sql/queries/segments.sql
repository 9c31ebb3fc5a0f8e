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

-- name: list_test_cells :many
-- Users and converting users, by weight epoch and set of segments, of either side of the tests whose variant is the
-- campaign $1, or any of the type $2 against a control of another type (or none): of the $3 such variants whose tests
-- began last, the campaign's own first. The conversions of each campaign are read once, however many tests and users
-- there are; a user converted where the last conversion before the test's end does not lie before the assignment.
-- Both are grouped by user, and not joined: a join of two lists that nothing is known of may take quadratic time.
with pairs as materialized (
    select
        v.test_id, v.group_name as variant_name, v.group_index as variant_index, v.campaign_id as variant_campaign_id,
        k.group_index as control_index, k.campaign_id as control_campaign_id, v.started_at,
        coalesce(v.ended_at, 'infinity') as ended_at
    from abtest_v1.begun_test_groups v
    join abtest_v1.begun_test_groups k on k.test_id = v.test_id and k.is_control
    left join analytics_v1.campaigns vc on vc.campaign_id = v.campaign_id
    left join analytics_v1.campaigns kc on kc.campaign_id = k.campaign_id
    where
        not v.is_control
        and (
            v.campaign_id = $1::text
            or (vc.campaign_type = $2::smallint and kc.campaign_type is distinct from $2::smallint)
        )
    order by v.campaign_id = $1::text desc, v.started_at desc, v.test_id, v.group_index
    limit $3::bigint
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
entries as (
    select a.test_id, a.group_index, a.user_id, a.epoch, a.segment_set_id, a.assigned_at, null::timestamptz as bought_at
    from sides s
    join abtest_v1.test_assignments a on a.test_id = s.test_id and a.group_index = s.group_index
    union all
    select s.test_id, s.group_index, b.user_id, null, null, null, b.event_at
    from sides s
    join bought b on b.campaign_id = s.campaign_id and b.event_at >= s.started_at and b.event_at < s.ended_at
),
assigned as (
    select
        test_id, group_index, max(epoch) as epoch, max(segment_set_id) as segment_set_id,
        coalesce(max(bought_at) >= max(assigned_at), false) as is_converting
    from entries
    group by test_id, group_index, user_id
    having max(assigned_at) is not null
),
cells as materialized (
    select
        test_id, group_index, epoch, segment_set_id, count(*) as users,
        count(*) filter (where is_converting) as converting
    from assigned
    group by test_id, group_index, epoch, segment_set_id
)
select
    p.test_id, p.variant_name, c.group_index = p.control_index as is_control, c.epoch, c.segment_set_id, c.users,
    c.converting
from pairs p
join cells c on c.test_id = p.test_id and c.group_index in (p.variant_index, p.control_index)
order by p.test_id, p.variant_name, is_control, c.epoch, c.segment_set_id;
