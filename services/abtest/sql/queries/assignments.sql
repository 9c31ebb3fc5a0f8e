-- Who got which group.

-- name: list_assignments :many
-- The assignments that exist of these pairs of test and user.
select
    a.test_id, a.user_id, a.group_index, a.epoch, a.propensity, a.assigned_at, g.group_name, g.campaign_id
from unnest($1::text[], $2::text[]) as wanted (test_id, user_id)
join ab_test_assignments a on a.test_id = wanted.test_id and a.user_id = wanted.user_id
join ab_test_groups g on g.test_id = a.test_id and g.group_index = a.group_index;

-- name: insert_assignments :many
-- Adds first assignments to tests that run (1) in the epoch they were decided by, and counts them in one slot; returns
-- the pairs that were added. A pair that another transaction has added, or is about to, is left out. The user's
-- segments are stamped as they are by now. One statement, so that it is a transaction of its own.
with shared as materialized (
    -- Who ends a test or changes its weights holds this lock alone. Advisory locks queue fairly: on the row itself, a
    -- stream of assignments would let them wait for ever.
    select w.test_id, pg_advisory_xact_lock_shared(hashtextextended('abtest.ab_tests/' || w.test_id, 0)) as locked
    from (select distinct t.test_id from unnest($1::text[]) as t (test_id) order by t.test_id) as w
),
running as materialized (
    -- What this statement waited for it does not see yet; to lock a row is to see it as it is by now.
    select t.test_id, t.current_epoch
    from shared s
    join ab_tests t on t.test_id = s.test_id
    where t.status = 1
    for share of t
),
added as (
    insert into ab_test_assignments (
        test_id, user_id, group_index, epoch, propensity, assigned_at, segment_set_id
    )
    -- One order everywhere, so that concurrent batches wait for each other and never in a circle.
    select n.test_id, n.user_id, n.group_index, n.epoch, n.propensity, $6, u.segment_set_id
    from unnest($1::text[], $2::text[], $3::smallint[], $4::integer[], $5::double precision[])
        as n (test_id, user_id, group_index, epoch, propensity)
    join running r on r.test_id = n.test_id and r.current_epoch = n.epoch
    left join analytics_v1.users u on u.user_id = n.user_id
    order by n.test_id, n.user_id
    on conflict on constraint ab_test_assignments_pkey do nothing
    returning test_id, user_id, epoch, group_index
),
counted as (
    insert into ab_test_group_counters as c (test_id, epoch, group_index, slot, users)
    select test_id, epoch, group_index, $7::smallint, count(*)
    from added
    group by test_id, epoch, group_index
    order by test_id, epoch, group_index
    on conflict on constraint ab_test_group_counters_pkey do update set users = c.users + excluded.users
)
select test_id, user_id
from added;

-- name: list_group_users :many
-- Assigned users per group of a test, from the counters; groups without users are left out.
select group_index, sum(users)::bigint as users
from ab_test_group_counters
where test_id = $1
group by group_index;
