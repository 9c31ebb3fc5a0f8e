-- Who may enrol: rules, exclusion groups, holdouts.

-- name: list_enrolments :many
-- What decides over users who have no group yet, of these tests: their state, hash, current weights, rules, and the
-- holdouts that hold for them now.
select
    t.test_id, t.status, t.ends_at, t.hash_seed, w.epoch, w.weights, w.coverage,
    array(
        select g.group_name from ab_test_groups g where g.test_id = t.test_id order by g.group_index
    ) as group_names,
    array(
        select g.campaign_id from ab_test_groups g where g.test_id = t.test_id order by g.group_index
    ) as campaign_ids,
    coalesce(r.include_segments, '{}') as include_segments,
    coalesce(r.exclude_segments, '{}') as exclude_segments,
    r.exclusion_group,
    coalesce(r.exclusion_firsts, '{}') as exclusion_firsts,
    coalesce(r.exclusion_ends, '{}') as exclusion_ends,
    held.holdout_ids, held.shares
from ab_tests t
join ab_test_weight_epochs w on w.test_id = t.test_id and w.epoch = t.current_epoch
left join ab_test_enrolment_rules r on r.test_id = t.test_id
cross join lateral (
    select
        coalesce(array_agg(h.holdout_id order by h.holdout_id), '{}') as holdout_ids,
        coalesce(array_agg(h.share order by h.holdout_id), '{}') as shares
    from ab_holdouts h
    where h.ended_at is null and (h.is_global or h.holdout_id = any(r.holdout_ids))
) as held
where t.test_id = any($1::text[]);

-- name: list_user_segments :many
-- The segments that these users have by now; users whom the catalog lacks are left out.
select user_id, segments
from analytics_v1.users
where user_id = any($1::text[]);

-- name: lock_exclusion_group :exec
-- Waits for whoever else takes a part of the group, and holds up later ones until the transaction is over.
select pg_advisory_xact_lock(hashtextextended('abtest.exclusion_groups/' || $1::text, 0));

-- name: list_exclusion_members :many
-- The tests that hold a part of an exclusion group (null: of any), with what they hold; ended (2) and archived (6)
-- ones hold nothing.
select r.exclusion_group, r.test_id, t.test_name, r.exclusion_share, r.exclusion_firsts, r.exclusion_ends
from ab_test_enrolment_rules r
join ab_tests t on t.test_id = r.test_id
where r.exclusion_group is not null and ($1::text is null or r.exclusion_group = $1) and t.status not in (2, 6)
order by r.exclusion_group, t.created_at, r.test_id;

-- name: insert_enrolment_rules :exec
-- Adds whom a test is for.
insert into ab_test_enrolment_rules (
    test_id, include_segments, exclude_segments, exclusion_group, exclusion_share, exclusion_firsts, exclusion_ends,
    holdout_ids
)
values ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: upsert_targeting :exec
-- Sets the segments that a test includes and excludes; its other rules stay.
insert into ab_test_enrolment_rules (
    test_id, include_segments, exclude_segments, exclusion_firsts, exclusion_ends, holdout_ids
)
values ($1, $2, $3, '{}', '{}', '{}')
on conflict on constraint ab_test_enrolment_rules_pkey do update
    set include_segments = excluded.include_segments, exclude_segments = excluded.exclude_segments;

-- name: list_enrolment_rules :many
-- Whom these tests are for, of those that say so.
select test_id, include_segments, exclude_segments, exclusion_group, exclusion_share, holdout_ids
from ab_test_enrolment_rules
where test_id = any($1::text[]);

-- name: insert_holdout :one
-- Adds a holdout unless there is one of that name; returns the name where it was added.
insert into ab_holdouts (holdout_id, share, is_global, created_at)
values ($1, $2, $3, $4)
on conflict on constraint ab_holdouts_pkey do nothing
returning holdout_id;

-- name: end_holdout :exec
-- Ends a holdout unless it has ended.
update ab_holdouts
set ended_at = $2
where holdout_id = $1 and ended_at is null;

-- name: list_holdouts :many
-- All holdouts, or those of these names ($1 not null).
select holdout_id, share, is_global, created_at, ended_at
from ab_holdouts
where $1::text[] is null or holdout_id = any($1)
order by holdout_id;
