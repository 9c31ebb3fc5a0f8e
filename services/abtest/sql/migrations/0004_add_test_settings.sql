-- migrate:up

-- Drafts, times that start and end a test by themselves, pauses, the archive; what is expected of a test.
alter table abtest.ab_tests
    add column hypothesis text not null default '',
    add column planned_duration_days integer,
    add column planned_looks smallint not null default 10,
    add column starts_at timestamptz,
    add column started_at timestamptz,
    add column ends_at timestamptz,
    drop constraint ab_tests_status_check,
    drop constraint ab_tests_ended_at_check;

update abtest.ab_tests
set started_at = created_at;

alter table abtest.ab_tests
    add constraint ab_tests_status_check check (status between 1 and 6),
    add constraint ab_tests_started_at_check check (
        (status not in (1, 2, 5) or started_at is not null) and (status not in (3, 4) or started_at is null)
    ),
    add constraint ab_tests_ended_at_check check (status = 6 or (status = 2) = (ended_at is not null)),
    add constraint ab_tests_starts_at_check check (status <> 4 or starts_at is not null),
    add constraint ab_tests_planned_looks_check check (planned_looks between 1 and 100);

-- For list_due_starts and list_due_ends.
create index ab_tests_due_start_idx on abtest.ab_tests (starts_at) where status = 4;
create index ab_tests_due_end_idx on abtest.ab_tests (ends_at) where status in (1, 5);

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

create or replace view abtest.ab_test_definitions as
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

-- A test starts when it first runs, which may be after its creation.
create or replace view abtest_v1.ended_tests as
select
    t.test_id, t.test_name, t.decision_method, t.confidence_level, t.target_sample_size, t.started_at, t.ended_at,
    r.verdict, winner.campaign_id as winner_campaign_id
from abtest.ab_tests t
join abtest.ab_test_results r on r.test_id = t.test_id and r.is_final
left join abtest.ab_test_groups winner on winner.test_id = r.test_id and winner.group_index = r.winner_index;

grant select, insert on abtest.ab_test_metrics, abtest.ab_test_changes to abtest;
grant select on abtest.ab_test_metrics, abtest.ab_test_changes to reporting;

-- migrate:down
create or replace view abtest_v1.ended_tests as
select
    t.test_id, t.test_name, t.decision_method, t.confidence_level, t.target_sample_size, t.created_at as started_at,
    t.ended_at, r.verdict, winner.campaign_id as winner_campaign_id
from abtest.ab_tests t
join abtest.ab_test_results r on r.test_id = t.test_id and r.is_final
left join abtest.ab_test_groups winner on winner.test_id = r.test_id and winner.group_index = r.winner_index;
drop view abtest.ab_test_definitions;
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
grant select on abtest.ab_test_definitions to abtest, reporting;
drop table abtest.ab_test_changes;
drop table abtest.ab_test_metrics;
drop index abtest.ab_tests_due_end_idx;
drop index abtest.ab_tests_due_start_idx;
alter table abtest.ab_tests
    drop constraint ab_tests_planned_looks_check,
    drop constraint ab_tests_starts_at_check,
    drop constraint ab_tests_ended_at_check,
    drop constraint ab_tests_started_at_check,
    drop constraint ab_tests_status_check,
    drop column ends_at,
    drop column started_at,
    drop column starts_at,
    drop column planned_looks,
    drop column planned_duration_days,
    drop column hypothesis,
    add constraint ab_tests_status_check check (status in (1, 2)),
    add constraint ab_tests_ended_at_check check ((status = 2) = (ended_at is not null));
