-- The audit log of tests.

-- name: insert_change :exec
-- Adds a change of a test, after lock_test or in the test's creation.
insert into ab_test_changes (test_id, change_number, changed_at, actor, action, comment, differences)
select $1, coalesce(max(change_number), 0) + 1, $2, $3, $4, $5, $6
from ab_test_changes
where test_id = $1;

-- name: list_changes :many
-- The changes of a test before the one numbered $2, the newest first.
select change_number, changed_at, actor, action, comment, differences
from ab_test_changes
where test_id = $1 and change_number < $2
order by change_number desc
limit $3;
