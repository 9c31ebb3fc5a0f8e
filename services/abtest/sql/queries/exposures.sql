-- Who saw what the group sees.

-- name: insert_exposures :many
-- Records exposures and counts in one slot those users whom the source tells of for the first time; of the others, an
-- earlier time replaces a later one. Returns the first-time ones. The arrays are in the order of user, test, source,
-- each once.
with recorded as (
    insert into ab_test_exposures as e (user_id, test_id, source, exposed_at)
    -- One order everywhere, so that concurrent batches wait for each other and never in a circle.
    select n.user_id, n.test_id, n.source, n.exposed_at
    from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) as n (user_id, test_id, source, exposed_at)
    order by n.user_id, n.test_id, n.source
    on conflict on constraint ab_test_exposures_pkey do update
        set exposed_at = excluded.exposed_at
        where e.exposed_at > excluded.exposed_at
    -- A row that was there already carries the lock of its update.
    returning e.user_id, e.test_id, e.source, e.xmax = 0 as is_new
),
counted as (
    insert into ab_test_exposure_counters as c (test_id, source, group_index, slot, users)
    select r.test_id, r.source, n.group_index, $6::smallint, count(*)
    from recorded r
    join unnest($1::text[], $2::text[], $3::text[], $5::smallint[]) as n (user_id, test_id, source, group_index)
        using (user_id, test_id, source)
    where r.is_new
    group by r.test_id, r.source, n.group_index
    order by r.test_id, r.source, n.group_index
    on conflict on constraint ab_test_exposure_counters_pkey do update set users = c.users + excluded.users
)
select user_id, test_id, source
from recorded
where is_new;

-- name: list_exposed_users :many
-- Exposed users of a test by source and group, from the counters; groups without users are left out.
select source, group_index, sum(users)::bigint as users
from ab_test_exposure_counters
where test_id = $1
group by source, group_index
order by source, group_index;

-- name: list_known_tests :many
-- Which of these tests exist.
select test_id
from ab_tests
where test_id = any($1::text[]);
