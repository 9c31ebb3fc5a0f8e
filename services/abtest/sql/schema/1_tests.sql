-- The A/B test service's schema as a whole, for reading; the migrations make it, and a test proves the two equal.

-- One row per test; `current_epoch` is the newest of its weight epochs. Statuses: 1 running, 2 ended, 3 draft, 4
-- scheduled, 5 paused, 6 archived. Decision methods: 1 anytime, 2 fixed horizon, 3 group sequential. `starts_at` and
-- `ends_at` are when it is to start and end by itself; `planned_looks` is for group-sequential tests only.
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
    hypothesis text not null default '',
    planned_duration_days integer,
    planned_looks smallint not null default 10,
    starts_at timestamptz,
    started_at timestamptz,
    ends_at timestamptz,
    constraint ab_tests_pkey primary key (test_id),
    constraint ab_tests_request_id_key unique (request_id),
    constraint ab_tests_status_check check (status between 1 and 6),
    constraint ab_tests_started_at_check check (
        (status not in (1, 2, 5) or started_at is not null) and (status not in (3, 4) or started_at is null)
    ),
    constraint ab_tests_ended_at_check check (status = 6 or (status = 2) = (ended_at is not null)),
    constraint ab_tests_starts_at_check check (status <> 4 or starts_at is not null),
    constraint ab_tests_planned_looks_check check (planned_looks between 1 and 100),
    constraint ab_tests_target_sample_size_check check (target_sample_size > 0),
    constraint ab_tests_confidence_level_check check (confidence_level between 0.80 and 0.999)
);

-- For list_tests: the history, the newest first.
create index ab_tests_created_idx on abtest.ab_tests (created_at desc, test_id desc);

-- For list_due_starts and list_due_ends.
create index ab_tests_due_start_idx on abtest.ab_tests (starts_at) where status = 4;
create index ab_tests_due_end_idx on abtest.ab_tests (ends_at) where status in (1, 5);

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

-- What a test measures, the primary metric at index 0; a test without rows measures its conversion rate. Roles: 1
-- primary, 2 secondary, 3 guardrail. Kinds: 1 proportion, 2 mean, 3 ratio. Sources: an event type of analytics, or 100
-- for revenue.
create table abtest.ab_test_metrics (
    test_id text not null,
    metric_index smallint not null,
    metric_name text not null,
    role smallint not null,
    kind smallint not null,
    numerator_source smallint not null,
    numerator_event_name text,
    denominator_source smallint,
    denominator_event_name text,
    window_hours integer,
    winsorize_quantile double precision,
    covariate_days integer,
    non_inferiority_margin double precision,
    higher_is_better boolean not null,
    constraint ab_test_metrics_pkey primary key (test_id, metric_index),
    constraint ab_test_metrics_name_key unique (test_id, metric_name),
    constraint ab_test_metrics_test_fkey foreign key (test_id) references abtest.ab_tests (test_id),
    constraint ab_test_metrics_role_check check ((role = 1) = (metric_index = 0) and role between 1 and 3),
    constraint ab_test_metrics_denominator_check check ((kind = 3) = (denominator_source is not null))
);

-- The audit log: every change of a test, from its creation. Written only by insert. `differences` is a list of
-- {field, before, after}; the creation has every field that was asked for.
create table abtest.ab_test_changes (
    test_id text not null,
    change_number integer not null,
    changed_at timestamptz not null,
    actor text not null,
    action text not null,
    comment text not null,
    differences jsonb not null,
    constraint ab_test_changes_pkey primary key (test_id, change_number),
    constraint ab_test_changes_test_fkey foreign key (test_id) references abtest.ab_tests (test_id)
);

-- A test with its groups and metrics (arrays in their order) and current weights, as the service reads it.
create view abtest.ab_test_definitions as
select
    t.test_id, t.test_name, t.status, t.decision_method, t.target_sample_size, t.confidence_level,
    t.minimum_detectable_effect, t.hash_seed, t.created_at, t.ended_at, w.epoch, w.weights, w.coverage,
    array(
        select g.group_name from abtest.ab_test_groups g where g.test_id = t.test_id order by g.group_index
    ) as group_names,
    array(
        select g.campaign_id from abtest.ab_test_groups g where g.test_id = t.test_id order by g.group_index
    ) as campaign_ids,
    t.hypothesis, t.planned_duration_days, t.planned_looks, t.starts_at, t.started_at, t.ends_at,
    array(
        select
            jsonb_build_object(
                'name', m.metric_name, 'role', m.role, 'kind', m.kind,
                'numerator_source', m.numerator_source, 'numerator_event_name', m.numerator_event_name,
                'denominator_source', m.denominator_source, 'denominator_event_name', m.denominator_event_name,
                'window_hours', m.window_hours, 'winsorize_quantile', m.winsorize_quantile,
                'covariate_days', m.covariate_days, 'non_inferiority_margin', m.non_inferiority_margin,
                'higher_is_better', m.higher_is_better
            )
        from abtest.ab_test_metrics m
        where m.test_id = t.test_id
        order by m.metric_index
    ) as metrics
from abtest.ab_tests t
join abtest.ab_test_weight_epochs w on w.test_id = t.test_id and w.epoch = t.current_epoch;

grant select, insert, update on abtest.ab_tests to abtest;
grant select, insert on
    abtest.ab_test_groups, abtest.ab_test_weight_epochs, abtest.ab_test_metrics, abtest.ab_test_changes
    to abtest;
grant select on
    abtest.ab_tests, abtest.ab_test_groups, abtest.ab_test_weight_epochs, abtest.ab_test_metrics,
    abtest.ab_test_changes, abtest.ab_test_definitions
    to reporting;
grant select on abtest.ab_test_definitions to abtest;
