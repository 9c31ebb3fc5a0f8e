-- The A/B test service's schema as a whole, for reading; the migrations make it, and a test proves the two equal.

-- One row per test; `current_epoch` is the newest of its weight epochs. Statuses: 1 running, 2 ended. Decision
-- methods: 1 anytime, 2 fixed horizon.
create table abtest.ab_tests (
    test_id text not null,
    test_name text not null,
    status smallint not null,
    decision_method smallint not null,
    target_sample_size bigint not null,
    confidence_level double precision not null,
    minimum_detectable_effect double precision,
    hash_seed text not null,
    current_epoch integer not null,
    request_id text,
    created_at timestamptz not null,
    ended_at timestamptz,
    constraint ab_tests_pkey primary key (test_id),
    constraint ab_tests_request_id_key unique (request_id),
    constraint ab_tests_status_check check (status in (1, 2)),
    constraint ab_tests_ended_at_check check ((status = 2) = (ended_at is not null)),
    constraint ab_tests_target_sample_size_check check (target_sample_size > 0),
    constraint ab_tests_confidence_level_check check (confidence_level between 0.80 and 0.999)
);

-- For list_tests: the history, the newest first.
create index ab_tests_created_idx on abtest.ab_tests (created_at desc, test_id desc);

-- The groups of a test, control at index 0, and the campaign each is shown.
create table abtest.ab_test_groups (
    test_id text not null,
    group_index smallint not null,
    group_name text not null,
    campaign_id text not null,
    constraint ab_test_groups_pkey primary key (test_id, group_index),
    constraint ab_test_groups_name_key unique (test_id, group_name),
    constraint ab_test_groups_campaign_key unique (test_id, campaign_id),
    constraint ab_test_groups_test_fkey foreign key (test_id) references abtest.ab_tests (test_id)
);

-- For neighbours that look up a campaign's tests in abtest_v1.ended_test_groups.
create index ab_test_groups_campaign_idx on abtest.ab_test_groups (campaign_id, test_id);

-- Weights (in the groups' order, summing to 1) and coverage as they were over time; epochs count from 1, and a
-- change opens the next one.
create table abtest.ab_test_weight_epochs (
    test_id text not null,
    epoch integer not null,
    weights double precision[] not null,
    coverage double precision not null,
    started_at timestamptz not null,
    constraint ab_test_weight_epochs_pkey primary key (test_id, epoch),
    constraint ab_test_weight_epochs_test_fkey foreign key (test_id) references abtest.ab_tests (test_id),
    constraint ab_test_weight_epochs_coverage_check check (coverage between 0 and 1)
);

-- A user's group, decided once. Written only by insert: nothing updates or deletes a row.
create table abtest.ab_test_assignments (
    user_id text not null,
    test_id text not null,
    assigned_at timestamptz not null,
    propensity double precision not null,
    epoch integer not null,
    group_index smallint not null,
    constraint ab_test_assignments_pkey primary key (test_id, user_id),
    constraint ab_test_assignments_test_fkey foreign key (test_id) references abtest.ab_tests (test_id),
    constraint ab_test_assignments_user_id_check check (user_id <> ''),
    constraint ab_test_assignments_propensity_check check (propensity > 0 and propensity <= 1)
);

-- Assigned users of each group and epoch, kept in the transaction that assigns them; split into slots so that
-- replicas do not wait for one another, added up on read.
create table abtest.ab_test_group_counters (
    test_id text not null,
    epoch integer not null,
    group_index smallint not null,
    slot smallint not null,
    users bigint not null,
    constraint ab_test_group_counters_pkey primary key (test_id, epoch, group_index, slot),
    constraint ab_test_group_counters_test_fkey foreign key (test_id) references abtest.ab_tests (test_id)
);

-- A test with its groups (arrays in their order) and current weights, as the service reads it.
create view abtest.ab_test_definitions as
select
    t.test_id, t.test_name, t.status, t.decision_method, t.target_sample_size, t.confidence_level,
    t.minimum_detectable_effect, t.hash_seed, t.created_at, t.ended_at, w.epoch, w.weights, w.coverage,
    array(
        select g.group_name from abtest.ab_test_groups g where g.test_id = t.test_id order by g.group_index
    ) as group_names,
    array(
        select g.campaign_id from abtest.ab_test_groups g where g.test_id = t.test_id order by g.group_index
    ) as campaign_ids
from abtest.ab_tests t
join abtest.ab_test_weight_epochs w on w.test_id = t.test_id and w.epoch = t.current_epoch;

grant select, insert, update on abtest.ab_tests, abtest.ab_test_group_counters to abtest;
grant select, insert on abtest.ab_test_groups, abtest.ab_test_weight_epochs, abtest.ab_test_assignments to abtest;
grant select on
    abtest.ab_tests, abtest.ab_test_groups, abtest.ab_test_weight_epochs, abtest.ab_test_assignments,
    abtest.ab_test_group_counters, abtest.ab_test_definitions
    to reporting;
grant select on abtest.ab_test_definitions to abtest;

-- What an analysis said, kept as it was; the final one is the result of an ended test. Verdicts: 1 ship, 2 stop,
-- 3 continue, 4 invalid.
create table abtest.ab_test_results (
    test_id text not null,
    result_number integer not null,
    is_final boolean not null,
    analyzed_at timestamptz not null,
    verdict smallint not null,
    winner_index smallint,
    recommendation text not null,
    reasons text[] not null,
    warnings text[] not null,
    sample_ratio_p_value double precision,
    sequential_sample_ratio_p_value double precision,
    constraint ab_test_results_pkey primary key (test_id, result_number),
    constraint ab_test_results_test_fkey foreign key (test_id) references abtest.ab_tests (test_id),
    constraint ab_test_results_verdict_check check (verdict between 1 and 4)
);

-- For fetch_final_result; and no test has two.
create unique index ab_test_results_final_key on abtest.ab_test_results (test_id) where is_final;

-- One row per group of a kept analysis: its counts, and for every group but control its comparison with control.
create table abtest.ab_test_group_results (
    test_id text not null,
    result_number integer not null,
    group_index smallint not null,
    users bigint not null,
    conversions bigint not null,
    method text,
    statistic double precision,
    p_value double precision,
    log10_p_value double precision,
    anytime_p_value double precision,
    power double precision,
    absolute_lift double precision,
    absolute_lift_lower double precision,
    absolute_lift_upper double precision,
    relative_lift double precision,
    relative_lift_lower double precision,
    relative_lift_upper double precision,
    anytime_relative_lift_lower double precision,
    anytime_relative_lift_upper double precision,
    constraint ab_test_group_results_pkey primary key (test_id, result_number, group_index),
    constraint ab_test_group_results_result_fkey foreign key (test_id, result_number)
        references abtest.ab_test_results (test_id, result_number),
    constraint ab_test_group_results_counts_check check (conversions between 0 and users)
);

grant select, insert on abtest.ab_test_results, abtest.ab_test_group_results to abtest;
grant select on abtest.ab_test_results, abtest.ab_test_group_results to reporting;

-- What neighbours may read, version 1: columns may be added at the end, nothing else may change.

-- The result kept of each ended test. decision_method: 1 anytime, 2 fixed horizon; verdict: 1 ship, 2 stop,
-- 4 invalid; winner_campaign_id is null where none may be named.
create view abtest_v1.ended_tests as
select
    t.test_id, t.test_name, t.decision_method, t.confidence_level, t.target_sample_size, t.created_at as started_at,
    t.ended_at, r.verdict, winner.campaign_id as winner_campaign_id
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

grant select on abtest_v1.ended_tests, abtest_v1.ended_test_groups to abtest, abtest_reader, reporting;
