-- What users did after they were assigned, as sufficient statistics.

-- name: list_outcomes :many
-- Assigned and converting users per weight epoch and group of a test, of those assigned until $2 (null: of all).
with last_conversions as (
    -- Some conversion after a user's assignment is the same as the last one being after it, so one row per user
    -- is enough.
    select g.group_index, e.user_id, max(e.event_at) as converted_at
    from ab_tests t
    join ab_test_groups g on g.test_id = t.test_id
    join analytics_v1.campaign_user_events e on e.campaign_id = g.campaign_id and e.event_at > t.created_at
    where t.test_id = $1 and e.event_type = 4
    group by g.group_index, e.user_id
),
counts as (
    select
        a.epoch, a.group_index, count(*) as users,
        count(*) filter (where c.converted_at > a.assigned_at) as conversions
    from ab_test_assignments a
    left join last_conversions c on c.user_id = a.user_id and c.group_index = a.group_index
    where a.test_id = $1 and ($2::timestamptz is null or a.assigned_at <= $2)
    group by a.epoch, a.group_index
)
select c.epoch, w.weights, c.group_index, c.users, c.conversions
from counts c
join ab_test_weight_epochs w on w.test_id = $1 and w.epoch = c.epoch
order by c.epoch, c.group_index;

-- name: fetch_horizon :one
-- When the last group of a test was assigned its $2-th user; null where one has fewer.
select case when count(*) = count(reached_at) then max(reached_at) end as reached_at
from ab_test_groups g
left join lateral (
    select a.assigned_at as reached_at
    from ab_test_assignments a
    where a.test_id = g.test_id and a.group_index = g.group_index
    order by a.assigned_at
    offset $2::bigint - 1
    limit 1
) as nth on true
where g.test_id = $1;
