-- A user's group, decided once. Written only by insert: nothing updates or deletes a row. segment_set_id is the
-- user's set of segments at that moment, as analytics_v1.segment_sets numbers it (null: none known).
create table abtest.ab_test_assignments (
    user_id text not null,
    test_id text not null,
    assigned_at timestamptz not null,
    propensity double precision not null,
    epoch integer not null,
    group_index smallint not null,
    segment_set_id integer,
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

grant select, insert, update on abtest.ab_test_group_counters to abtest;
grant select, insert on abtest.ab_test_assignments to abtest;
grant select on abtest.ab_test_assignments, abtest.ab_test_group_counters to reporting;
