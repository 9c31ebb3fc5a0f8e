-- migrate:up

-- Which version was live when: a row per exchange of the live version, numbered from 1 without gaps. Written only by
-- insert, in the transaction of the exchange, and kept for good, as outcomes are. from_version is null where none was
-- live, or nobody kept it; cause is null, and actor and comment are empty, where nobody kept them.
create table optimizer.model_changes (
    model_name text not null,
    change_number bigint not null,
    kind text not null,
    cause text,
    actor text not null,
    comment text not null,
    reason text not null,
    from_version bigint,
    to_version bigint not null,
    changed_at timestamptz not null,
    training_id uuid,
    is_reconstructed boolean not null default false,
    constraint model_changes_pkey primary key (model_name, change_number),
    constraint model_changes_number_positive check (change_number > 0),
    constraint model_changes_kind_known check (kind in ('promotion', 'rollback', 'return')),
    constraint model_changes_cause_known check (cause in ('request', 'daily', 'drift')),
    constraint model_changes_cause_kept check (is_reconstructed or cause is not null),
    constraint model_changes_versions_differ check (from_version <> to_version),
    constraint model_changes_to_fkey foreign key (model_name, to_version)
        references optimizer.ml_models (model_name, version),
    constraint model_changes_from_fkey foreign key (model_name, from_version)
        references optimizer.ml_models (model_name, version)
);

grant select, insert on optimizer.model_changes to optimizer;
grant select on optimizer.model_changes to reporting;

-- What is known of changes until now. A version that was retired says when, and names what took its place ("replaced by
-- version 3", "rolled back to version 2 by ann: slow"); a retirement overwrote what a version said before. The live one
-- says since when, and why. A training that promoted a version says when, for what and for whom; it ended within the
-- exchange. Of a change that both tell of, the retirement's time counts, and the training's actor. Who went back, and why,
-- stands behind " by " and ": " (of an actor who has ": " in the name, the rest passes for the comment; reason has all).
with retired as (
    select
        model_name, version as from_version, status_reason as reason, status_changed_at as changed_at,
        substring(status_reason from '^(?:replaced by|rolled back to|returned to later) version (\d+)')::bigint
            as to_version
    from optimizer.ml_models
    where status = 'retired'
),
exchanged as (
    select
        r.model_name, r.from_version, r.to_version, r.changed_at,
        case
            when named.status = 'live' and named.status_changed_at = r.changed_at then named.status_reason
            else r.reason
        end as reason
    from retired r
    join optimizer.ml_models named on named.model_name = r.model_name and named.version = r.to_version
    where r.to_version <> r.from_version
),
begun as (
    select m.model_name, null::bigint as from_version, m.version as to_version, m.status_changed_at as changed_at,
        m.status_reason as reason
    from optimizer.ml_models m
    where m.status = 'live' and not exists (
        select 1
        from exchanged e
        where e.model_name = m.model_name and e.to_version = m.version and e.changed_at = m.status_changed_at
    )
),
seen as (
    select model_name, from_version, to_version, changed_at, reason from exchanged
    union all
    select model_name, from_version, to_version, changed_at, reason from begun
),
promoted as (
    select model_name, model_version as to_version, training_id, cause, actor, comment, started_at, ended_at
    from optimizer.trainings
    where state = 'promoted' and model_version is not null
),
known as (
    select
        s.model_name, s.from_version, s.to_version, s.changed_at, s.reason, p.training_id, p.cause, p.actor, p.comment
    from seen s
    left join promoted p
        on p.model_name = s.model_name and p.to_version = s.to_version
        and s.changed_at between p.started_at and p.ended_at + interval '1 minute'
    union all
    select p.model_name, null, p.to_version, p.ended_at, '', p.training_id, p.cause, p.actor, p.comment
    from promoted p
    where not exists (
        select 1
        from seen s
        where
            s.model_name = p.model_name and s.to_version = p.to_version
            and s.changed_at between p.started_at and p.ended_at + interval '1 minute'
    )
)
insert into optimizer.model_changes (
    model_name, change_number, kind, cause, actor, comment, reason, from_version, to_version, changed_at, training_id,
    is_reconstructed
)
select
    model_name,
    row_number() over (partition by model_name order by changed_at, to_version),
    case
        when reason like 'rolled back to version %' then 'rollback'
        when reason like 'returned to later version %' then 'return'
        else 'promotion'
    end,
    case
        when reason like 'rolled back to version %' or reason like 'returned to later version %' then 'request'
        else cause
    end,
    coalesce(actor, substring(reason from asked_by), ''), coalesce(comment, substring(reason from asked_why), ''), reason, from_version, to_version, changed_at, training_id, true
from known
cross join (
    values (
        '^(?:rolled back to|returned to later) version \d+ by ((?:[^:]|:(?! ))+)(?:: .*)?$',
        '^(?:rolled back to|returned to later) version \d+(?: by (?:[^:]|:(?! ))+)?: (.*)$'
    )
) as patterns (asked_by, asked_why);

-- migrate:down
drop table optimizer.model_changes;
