-- migrate:up

-- `document` is the whole analysis as it was given (null: kept before there were documents); `fingerprint` tells
-- analyses of the same outcomes, so that looking again keeps nothing anew.
alter table abtest.ab_test_results add column document jsonb, add column fingerprint text;

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

-- migrate:down
drop table abtest.ab_test_looks;
alter table abtest.ab_test_results drop column document, drop column fingerprint;
