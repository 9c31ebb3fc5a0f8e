-- What is forgotten after a while, a bounded number of rows at a time. Each statement first locks what is to go, and
-- leaves out what another run or a request holds: it never waits for a row of these tables.

-- name: delete_closed_optimizations :one
-- Forgets at most $3 recommendations that were closed before $1, with their decisions, and says how many. None that may
-- still keep the same from coming again at $2, and none that was applied before its outcome is kept for good.
with closed as (
    select o.optimization_id
    from campaign_optimizations o
    where
        o.status in ('dismissed', 'applied', 'expired', 'superseded') and o.decided_at < $1 and o.expires_at <= $2
        and (
            o.status <> 'applied'
            or o.is_outcome_final and exists (
                select 1
                from offer_optimization_history h
                where h.source = 'recommendation' and h.source_id = o.optimization_id::text and h.is_final
            )
        )
    order by o.decided_at
    limit $3
    for update of o skip locked
),
gone as (
    delete from campaign_optimizations
    where optimization_id in (select optimization_id from closed)
    returning 1
)
select count(*) as deleted
from gone;

-- name: delete_outdated_verdicts :one
-- Forgets at most $2 verdicts from before $1, and says how many.
with outdated as (
    select campaign_id, optimization_type
    from campaign_optimization_verdicts
    where judged_at < $1
    order by judged_at
    limit $2
    for update skip locked
),
gone as (
    delete from campaign_optimization_verdicts
    where (campaign_id, optimization_type) in (select campaign_id, optimization_type from outdated)
    returning 1
)
select count(*) as deleted
from gone;

-- name: delete_ended_trainings :one
-- Forgets at most $2 trainings that began before $1 and are over, and says how many; never the one that has learned of
-- the latest day.
with ended as (
    select training_id
    from trainings
    where
        started_at < $1 and state <> 'running'
        and training_id is distinct from (
            select training_id
            from trainings
            where state in ('promoted', 'rejected')
            order by end_day desc, started_at desc
            limit 1
        )
    order by started_at
    limit $2
    for update skip locked
),
gone as (
    delete from trainings
    where training_id in (select training_id from ended)
    returning 1
)
select count(*) as deleted
from gone;

-- name: delete_old_drift :one
-- Forgets at most $2 comparisons made before $1, and says how many; never the last one of a version.
with old as (
    select d.model_name, d.version, d.end_day
    from model_drift d
    where d.measured_at < $1 and exists (
        select 1
        from model_drift later
        where later.model_name = d.model_name and later.version = d.version and later.end_day > d.end_day
    )
    order by d.measured_at
    limit $2
    for update of d skip locked
),
gone as (
    delete from model_drift
    where (model_name, version, end_day) in (select model_name, version, end_day from old)
    returning 1
)
select count(*) as deleted
from gone;

-- name: delete_old_affinity_models :one
-- Forgets at most $2 versions of affinities fitted before $1, and says how many; never the live one, nor the newest,
-- whose number must not come again.
with old as (
    select version
    from affinity_models
    where fitted_at < $1 and status <> 'live' and version < (select max(version) from affinity_models)
    order by version
    limit $2
    for update skip locked
),
gone as (
    delete from affinity_models
    where version in (select version from old)
    returning 1
)
select count(*) as deleted
from gone;
