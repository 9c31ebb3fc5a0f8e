-- migrate:up

-- The outcome of what was applied is counted until it is final; then nothing but a list of outcomes reads it.
alter table optimizer.campaign_optimizations
    add column outcome_measured_at timestamptz,
    add column is_outcome_final boolean not null default false,
    add constraint campaign_optimizations_final_was_applied check (not is_outcome_final or status = 'applied');

update optimizer.campaign_optimizations o
set outcome_measured_at = h.measured_at, is_outcome_final = h.is_final
from optimizer.offer_optimization_history h
where h.source = 'recommendation' and h.source_id = o.optimization_id::text and o.status = 'applied';

-- For list_unmeasured_optimizations: what was applied and is not measured to its end, counted longest ago first.
create index campaign_optimizations_unmeasured_idx on optimizer.campaign_optimizations
    (outcome_measured_at nulls first, applied_at)
    where status = 'applied' and not is_outcome_final;

drop index optimizer.campaign_optimizations_applied_idx;

-- For delete_closed_optimizations.
create index campaign_optimizations_closed_idx on optimizer.campaign_optimizations (decided_at)
    where status in ('dismissed', 'applied', 'expired', 'superseded');

-- Decisions go with their recommendation, and not by themselves: nobody may delete them. Outcomes stay.
alter table optimizer.campaign_optimization_decisions
    drop constraint campaign_optimization_decisions_optimization_fkey,
    add constraint campaign_optimization_decisions_optimization_fkey foreign key (optimization_id)
        references optimizer.campaign_optimizations (optimization_id) on delete cascade;

alter table optimizer.offer_optimization_history
    drop constraint offer_optimization_history_optimization_fkey,
    add constraint offer_optimization_history_optimization_fkey foreign key (optimization_id)
        references optimizer.campaign_optimizations (optimization_id) on delete set null;

-- For the key above: whose outcome loses its recommendation.
create index offer_optimization_history_optimization_idx on optimizer.offer_optimization_history (optimization_id)
    where optimization_id is not null;

-- What the data spoke against, and from which inputs (inputs_key): while these stand it is not asked again.
create table optimizer.campaign_optimization_verdicts (
    campaign_id text not null,
    optimization_type text not null,
    inputs_key text not null,
    reason text not null,
    message text not null,
    judged_at timestamptz not null,
    constraint campaign_optimization_verdicts_pkey primary key (campaign_id, optimization_type),
    constraint campaign_optimization_verdicts_type_known check (
        optimization_type in ('offer_amount', 'timing', 'segment', 'channel')
    )
);

-- For delete_outdated_verdicts.
create index campaign_optimization_verdicts_judged_idx on optimizer.campaign_optimization_verdicts (judged_at);

grant select, insert, update, delete on optimizer.campaign_optimization_verdicts to optimizer;
grant select on optimizer.campaign_optimization_verdicts to reporting;

-- What serving and drift needed of versions whose files are gone: they can never serve again.
update optimizer.ml_models
set serving_parameters = '{}', reference = null
where files_removed_at is not null;

-- migrate:down
drop table optimizer.campaign_optimization_verdicts;
drop index optimizer.offer_optimization_history_optimization_idx;
alter table optimizer.offer_optimization_history
    drop constraint offer_optimization_history_optimization_fkey,
    add constraint offer_optimization_history_optimization_fkey foreign key (optimization_id)
        references optimizer.campaign_optimizations (optimization_id);
alter table optimizer.campaign_optimization_decisions
    drop constraint campaign_optimization_decisions_optimization_fkey,
    add constraint campaign_optimization_decisions_optimization_fkey foreign key (optimization_id)
        references optimizer.campaign_optimizations (optimization_id);
drop index optimizer.campaign_optimizations_closed_idx;
create index campaign_optimizations_applied_idx on optimizer.campaign_optimizations (applied_at)
    where status = 'applied';
drop index optimizer.campaign_optimizations_unmeasured_idx;
alter table optimizer.campaign_optimizations
    drop constraint campaign_optimizations_final_was_applied,
    drop column is_outcome_final,
    drop column outcome_measured_at;
