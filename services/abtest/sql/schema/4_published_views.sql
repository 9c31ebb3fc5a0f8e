-- What neighbours may read, version 1: columns may be added at the end, nothing else may change.

-- The result kept of each ended test. decision_method: 1 anytime, 2 fixed horizon, 3 group
-- sequential; verdict: 1 ship, 2 stop, 4 invalid; winner_campaign_id is null where none may be named.
create view abtest_v1.ended_tests as
select
    t.test_id, t.test_name, t.decision_method, t.confidence_level, t.target_sample_size, t.started_at, t.ended_at,
    r.verdict, winner.campaign_id as winner_campaign_id
from abtest.ab_tests t
join abtest.ab_test_results r on r.test_id = t.test_id and r.is_final
left join abtest.ab_test_groups winner on winner.test_id = r.test_id and winner.group_index = r.winner_index;

-- The groups of those tests: assigned users, converting users, and the lift over control (null for control).
create view abtest_v1.ended_test_groups as
select
    g.test_id, g.group_name, g.campaign_id, g.group_index = 0 as is_control, gr.users, gr.conversions,
    gr.relative_lift, gr.relative_lift_lower, gr.relative_lift_upper
from abtest.ab_test_groups g
join abtest.ab_test_results r on r.test_id = g.test_id and r.is_final
join abtest.ab_test_group_results gr
    on gr.test_id = r.test_id and gr.result_number = r.result_number and gr.group_index = g.group_index;

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

grant select on
    abtest_v1.ended_tests, abtest_v1.ended_test_groups, abtest_v1.begun_test_groups, abtest_v1.test_assignments
    to abtest, abtest_reader, reporting;
