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
-- campaign $1, or any of the type $2 against a control of another type (or none).
with pairs as (
    select
        v.test_id, v.group_name as variant_name, v.group_index as variant_index, v.campaign_id as variant_campaign_id,
        k.group_index as control_index, k.campaign_id as control_campaign_id, v.ended_at
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
),
sides as (
    select test_id, variant_name, variant_index as group_index, variant_campaign_id as campaign_id,
        false as is_control, ended_at
    from pairs
    union all
    select test_id, variant_name, control_index, control_campaign_id, true, ended_at
    from pairs
),
assigned as (
    select
        s.test_id, s.variant_name, s.is_control, a.epoch, a.segment_set_id,
        exists (
            select 1
            from analytics_v1.user_events e
            where e.user_id = a.user_id and e.campaign_id = s.campaign_id and e.event_type = 4
                and e.event_at >= a.assigned_at and (s.ended_at is null or e.event_at < s.ended_at)
        ) as is_converting
    from sides s
    join abtest_v1.test_assignments a on a.test_id = s.test_id and a.group_index = s.group_index
)
select
    test_id, variant_name, is_control, epoch, segment_set_id, count(*) as users,
    count(*) filter (where is_converting) as converting
from assigned
group by test_id, variant_name, is_control, epoch, segment_set_id
order by test_id, variant_name, is_control, epoch, segment_set_id;
