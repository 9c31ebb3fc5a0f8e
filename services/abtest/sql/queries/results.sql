-- What analyses said, kept as it was.

-- name: lock_results :exec
-- Lets nobody else keep an analysis of a test until the transaction is over.
select pg_advisory_xact_lock(hashtextextended('abtest.ab_test_results/' || $1::text, 0));

-- name: insert_result :one
-- Keeps an analysis of a test under the next number.
insert into ab_test_results (
    test_id, result_number, is_final, analyzed_at, verdict, winner_index, recommendation, reasons, warnings,
    sample_ratio_p_value, sequential_sample_ratio_p_value, document, fingerprint
)
select $1, coalesce(max(result_number), 0) + 1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12
from ab_test_results
where test_id = $1
returning result_number;

-- name: insert_look :exec
-- Keeps a look of a test with the analysis that took it.
insert into ab_test_looks (test_id, look_number, result_number, look)
values ($1, $2, $3, $4);

-- name: list_looks :many
-- The looks that were taken at a test.
select look
from ab_test_looks
where test_id = $1
order by look_number;

-- name: insert_group_results :exec
-- Keeps the groups' parts of a result; the arrays are in the groups' order.
insert into ab_test_group_results (
    test_id, result_number, group_index, users, conversions, method, statistic, p_value, log10_p_value,
    anytime_p_value, power, absolute_lift, absolute_lift_lower, absolute_lift_upper, relative_lift,
    relative_lift_lower, relative_lift_upper, anytime_relative_lift_lower, anytime_relative_lift_upper
)
select
    $1, $2, g.group_index, g.users, g.conversions, g.method, g.statistic, g.p_value, g.log10_p_value,
    g.anytime_p_value, g.power, g.absolute_lift, g.absolute_lift_lower, g.absolute_lift_upper, g.relative_lift,
    g.relative_lift_lower, g.relative_lift_upper, g.anytime_relative_lift_lower, g.anytime_relative_lift_upper
from unnest(
    $3::smallint[], $4::bigint[], $5::bigint[], $6::text[], $7::double precision[], $8::double precision[],
    $9::double precision[], $10::double precision[], $11::double precision[], $12::double precision[],
    $13::double precision[], $14::double precision[], $15::double precision[], $16::double precision[],
    $17::double precision[], $18::double precision[], $19::double precision[]
) as g (
    group_index, users, conversions, method, statistic, p_value, log10_p_value, anytime_p_value, power,
    absolute_lift, absolute_lift_lower, absolute_lift_upper, relative_lift, relative_lift_lower,
    relative_lift_upper, anytime_relative_lift_lower, anytime_relative_lift_upper
);

-- name: list_same_results :many
-- The newest kept analysis of a test, if it was of the outcomes that $2 tells.
select
    test_id, result_number, is_final, analyzed_at, verdict, winner_index, recommendation, reasons, warnings,
    sample_ratio_p_value, sequential_sample_ratio_p_value, document
from ab_test_results
where test_id = $1 and fingerprint = $2
    and result_number = (select max(n.result_number) from ab_test_results n where n.test_id = $1);

-- name: list_final_results :many
-- The final results that are kept of these tests.
select
    test_id, result_number, is_final, analyzed_at, verdict, winner_index, recommendation, reasons, warnings,
    sample_ratio_p_value, sequential_sample_ratio_p_value, document
from ab_test_results
where test_id = any($1::text[]) and is_final;

-- name: list_results :many
-- At most $3 kept analyses of a test with numbers under $2, the newest first.
select
    test_id, result_number, is_final, analyzed_at, verdict, winner_index, recommendation, reasons, warnings,
    sample_ratio_p_value, sequential_sample_ratio_p_value, document
from ab_test_results
where test_id = $1 and result_number < $2::integer
order by result_number desc
limit $3;

-- name: list_group_results :many
-- The groups' parts of these results, in the groups' order.
select
    gr.test_id, gr.result_number, gr.group_index, gr.users, gr.conversions, gr.method, gr.statistic, gr.p_value,
    gr.log10_p_value, gr.anytime_p_value, gr.power, gr.absolute_lift, gr.absolute_lift_lower,
    gr.absolute_lift_upper, gr.relative_lift, gr.relative_lift_lower, gr.relative_lift_upper,
    gr.anytime_relative_lift_lower, gr.anytime_relative_lift_upper
from unnest($1::text[], $2::integer[]) as k (test_id, result_number)
join ab_test_group_results gr on gr.test_id = k.test_id and gr.result_number = k.result_number
order by gr.test_id, gr.result_number, gr.group_index;
