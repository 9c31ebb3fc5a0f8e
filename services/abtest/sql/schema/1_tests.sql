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

grant select, insert, update on abtest.ab_tests to abtest;
grant select, insert on abtest.ab_test_groups, abtest.ab_test_weight_epochs to abtest;
grant select on
    abtest.ab_tests, abtest.ab_test_groups, abtest.ab_test_weight_epochs, abtest.ab_test_definitions
    to reporting;
grant select on abtest.ab_test_definitions to abtest;
