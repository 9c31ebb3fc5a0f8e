-- What an analysis said, kept as it was; the final one is the result of an ended test. Verdicts: 1 ship, 2 stop,
-- 3 continue, 4 invalid. `document` is the whole analysis as it was given (null: kept before there were documents);
-- `fingerprint` tells analyses of the same outcomes, so that looking again keeps nothing anew.
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
    document jsonb,
    fingerprint text,
    constraint ab_test_results_pkey primary key (test_id, result_number),
    constraint ab_test_results_test_fkey foreign key (test_id) references abtest.ab_tests (test_id),
    constraint ab_test_results_verdict_check check (verdict between 1 and 4)
);

-- For fetch_final_result; and no test has two.
create unique index ab_test_results_final_key on abtest.ab_test_results (test_id) where is_final;

-- The looks that a decision method counts, each with the analysis that took it; numbered from 1.
create table abtest.ab_test_looks (
    test_id text not null,
    look_number integer not null,
    result_number integer not null,
    look jsonb not null,
    constraint ab_test_looks_pkey primary key (test_id, look_number),
    constraint ab_test_looks_result_fkey foreign key (test_id, result_number)
        references abtest.ab_test_results (test_id, result_number)
);

grant select, insert on abtest.ab_test_looks to abtest;
grant select on abtest.ab_test_looks to reporting;

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
