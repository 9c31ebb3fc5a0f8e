-- migrate:up

-- The user's set of segments at the assignment, as analytics_v1.segment_sets numbers it (null: none known).
alter table abtest.ab_test_assignments add column segment_set_id integer;

-- Holdouts: a share of all users whom no test enrols while it lasts (is_global), or no test that names it. A share
-- never changes, because users would cross over.
create table abtest.ab_holdouts (
    holdout_id text not null,
    share double precision not null,
    is_global boolean not null,
    created_at timestamptz not null,
    ended_at timestamptz,
    constraint ab_holdouts_pkey primary key (holdout_id),
    constraint ab_holdouts_share_check check (share > 0 and share <= 0.5)
);

-- Whom a test is for; one row per test that says so. The exclusion spans are buckets [first, end) of the exclusion
-- group's namespace; they are the test's until it has ended.
create table abtest.ab_test_enrolment_rules (
    test_id text not null,
    include_segments text[] not null,
    exclude_segments text[] not null,
    exclusion_group text,
    exclusion_share double precision,
    exclusion_firsts integer[] not null,
    exclusion_ends integer[] not null,
    holdout_ids text[] not null,
    constraint ab_test_enrolment_rules_pkey primary key (test_id),
    constraint ab_test_enrolment_rules_test_fkey foreign key (test_id) references abtest.ab_tests (test_id),
    constraint ab_test_enrolment_rules_share_check check (
        (exclusion_group is null) = (exclusion_share is null)
        and (exclusion_group is null) = (cardinality(exclusion_firsts) = 0)
        and cardinality(exclusion_firsts) = cardinality(exclusion_ends)
    )
);

-- For list_exclusion_members.
create index ab_test_enrolment_rules_group_idx on abtest.ab_test_enrolment_rules (exclusion_group)
where exclusion_group is not null;

-- The first time a user saw what the group sees, as each source tells it.
create table abtest.ab_test_exposures (
    user_id text not null,
    test_id text not null,
    source text not null,
    exposed_at timestamptz not null,
    constraint ab_test_exposures_pkey primary key (test_id, user_id, source),
    constraint ab_test_exposures_test_fkey foreign key (test_id) references abtest.ab_tests (test_id)
);

-- Exposed users of each group by source, kept in the transaction that records them; in slots as the counters of
-- assignments.
create table abtest.ab_test_exposure_counters (
    test_id text not null,
    source text not null,
    group_index smallint not null,
    slot smallint not null,
    users bigint not null,
    constraint ab_test_exposure_counters_pkey primary key (test_id, source, group_index, slot),
    constraint ab_test_exposure_counters_test_fkey foreign key (test_id) references abtest.ab_tests (test_id)
);

grant select, insert, update on
    abtest.ab_holdouts, abtest.ab_test_enrolment_rules, abtest.ab_test_exposures, abtest.ab_test_exposure_counters
    to abtest;
grant select on
    abtest.ab_holdouts, abtest.ab_test_enrolment_rules, abtest.ab_test_exposures, abtest.ab_test_exposure_counters
    to reporting;

-- migrate:down
drop table abtest.ab_test_exposure_counters;
drop table abtest.ab_test_exposures;
drop table abtest.ab_test_enrolment_rules;
drop table abtest.ab_holdouts;
alter table abtest.ab_test_assignments drop column segment_set_id;
