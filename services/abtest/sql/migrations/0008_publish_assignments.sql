-- migrate:up

-- Tests that have begun, and their groups. status: 1 running, 2 ended, 5 paused, 6 archived.
create view abtest_v1.begun_test_groups as
select
    g.test_id, g.group_index, g.group_name, g.campaign_id, g.group_index = 0 as is_control, t.test_name, t.status,
    t.started_at, t.ended_at
from abtest.ab_test_groups g
join abtest.ab_tests t on t.test_id = g.test_id and t.started_at is not null;

-- Who is in which group since when, under which weights, and the user's set of segments at that moment, as
-- analytics_v1.segment_sets numbers it (null: none known).
create view abtest_v1.test_assignments as
select test_id, user_id, group_index, assigned_at, epoch, propensity, segment_set_id
from abtest.ab_test_assignments;

grant select on abtest_v1.begun_test_groups, abtest_v1.test_assignments to abtest, abtest_reader, reporting;

-- migrate:down
drop view abtest_v1.test_assignments;
drop view abtest_v1.begun_test_groups;
