-- name: list_tests_of_campaigns :many
-- The newest tests that show one of the campaigns $1, at most $2.
select t.test_id
from ab_tests t
where exists (
    select from ab_test_groups g where g.test_id = t.test_id and g.campaign_id = any($1::text[])
)
order by t.created_at desc, t.test_id desc
limit $2;

-- name: count_shared_users :many
-- Users assigned in two of the tests $1, by both tests and by their groups in both; pairs without users are left out.
select
    a.test_id as first_test_id, b.test_id as second_test_id, a.group_index as first_group_index,
    b.group_index as second_group_index, count(*) as users
from ab_test_assignments a
join ab_test_assignments b on b.user_id = a.user_id and b.test_id > a.test_id
where a.test_id = any($1::text[]) and b.test_id = any($1::text[])
group by a.test_id, b.test_id, a.group_index, b.group_index;

-- name: list_users_of_tests :many
-- Assigned users by test and group, from the counters; groups without users are left out.
select test_id, group_index, sum(users)::bigint as users
from ab_test_group_counters
where test_id = any($1::text[])
group by test_id, group_index;
