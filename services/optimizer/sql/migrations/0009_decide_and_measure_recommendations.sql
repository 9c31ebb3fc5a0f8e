-- migrate:up

-- A recommendation is kept while what it was made from (inputs_key) stands, and made again otherwise: in place where
-- it still says the same (choice), else a new one takes its place and it is superseded.
alter table optimizer.campaign_optimizations
    add column inputs_key text not null default '',
    add column choice text not null default '',
    add column refreshed_at timestamptz,
    add column applied_at timestamptz,
    drop constraint campaign_optimizations_status_known,
    add constraint campaign_optimizations_status_known check (
        status in ('open', 'accepted', 'dismissed', 'applied', 'expired', 'superseded')
    ),
    add constraint campaign_optimizations_applied_has_time check (status <> 'applied' or applied_at is not null);

-- For list_current_optimizations; and no campaign has two of a type that wait to be decided or applied.
create unique index campaign_optimizations_current_key on optimizer.campaign_optimizations
    (campaign_id, optimization_type)
    where status in ('open', 'accepted');

-- For list_unmeasured_optimizations: what was applied, the latest first.
create index campaign_optimizations_applied_idx on optimizer.campaign_optimizations (applied_at)
    where status = 'applied';

-- Who did what with a recommendation, and when. Written only by insert.
create table optimizer.campaign_optimization_decisions (
    optimization_id uuid not null,
    decision_number integer not null,
    action text not null,
    actor text not null,
    comment text not null,
    decided_at timestamptz not null,
    constraint campaign_optimization_decisions_pkey primary key (optimization_id, decision_number),
    constraint campaign_optimization_decisions_optimization_fkey foreign key (optimization_id)
        references optimizer.campaign_optimizations (optimization_id),
    constraint campaign_optimization_decisions_action_known check (
        action in ('create', 'accept', 'dismiss', 'apply', 'expire', 'supersede')
    )
);

-- What any applied recommendation did, and every ended A/B test: predicted beside observed, and what was before.
-- offer_micros is null where the recommendation was not of an offer, or nobody knows the offer.
alter table optimizer.offer_optimization_history
    alter column offer_micros drop not null,
    add column optimization_type text not null default 'offer_amount',
    add column choice text not null default '',
    add column predicted_lower double precision,
    add column predicted_upper double precision,
    add column expected_effect double precision,
    add column previous_views bigint,
    add column previous_conversions bigint,
    add column relative_lift double precision,
    add column relative_lift_lower double precision,
    add column relative_lift_upper double precision,
    add column window_ends_at timestamptz,
    add column is_final boolean not null default true,
    add constraint offer_optimization_history_type_known check (
        optimization_type in ('offer_amount', 'timing', 'segment', 'channel')
    ),
    add constraint offer_optimization_history_previous_not_negative check (
        previous_views >= 0 and previous_conversions >= 0
    );

-- For list_offer_outcomes: a campaign's, or everybody's, the latest applied first.
drop index optimizer.offer_optimization_history_campaign_idx;
create index offer_optimization_history_campaign_idx on optimizer.offer_optimization_history
    (campaign_id, applied_at desc, history_id desc);
create index offer_optimization_history_applied_idx on optimizer.offer_optimization_history
    (applied_at desc, history_id desc);

create or replace view optimizer_v1.campaign_optimizations as
select
    optimization_id, campaign_id, optimization_type, status, recommendation, expected_improvement, confidence,
    model_name, model_version, created_at, expires_at, decided_at, choice, applied_at
from optimizer.campaign_optimizations;

create view optimizer_v1.offer_outcomes as
select
    history_id, campaign_id, source, source_id, optimization_type, choice, previous_offer_micros, offer_micros,
    predicted_conversion_rate, observed_views, observed_conversions, relative_lift, relative_lift_lower,
    relative_lift_upper, applied_at, measured_at, is_final
from optimizer.offer_optimization_history;

grant select, insert on optimizer.campaign_optimization_decisions to optimizer;
grant select on optimizer.campaign_optimization_decisions to reporting;
grant select on optimizer_v1.offer_outcomes to optimizer, optimizer_reader, reporting;

-- migrate:down
drop view optimizer_v1.offer_outcomes;
drop view optimizer_v1.campaign_optimizations;
create view optimizer_v1.campaign_optimizations as
select
    optimization_id, campaign_id, optimization_type, status, recommendation, expected_improvement, confidence,
    model_name, model_version, created_at, expires_at, decided_at
from optimizer.campaign_optimizations;
grant select on optimizer_v1.campaign_optimizations to optimizer, optimizer_reader, reporting;
delete from optimizer.offer_optimization_history where offer_micros is null;
drop index optimizer.offer_optimization_history_applied_idx;
drop index optimizer.offer_optimization_history_campaign_idx;
create index offer_optimization_history_campaign_idx on optimizer.offer_optimization_history
    (campaign_id, measured_at desc);
alter table optimizer.offer_optimization_history
    drop column is_final,
    drop column window_ends_at,
    drop column relative_lift_upper,
    drop column relative_lift_lower,
    drop column relative_lift,
    drop column previous_conversions,
    drop column previous_views,
    drop column expected_effect,
    drop column predicted_upper,
    drop column predicted_lower,
    drop column choice,
    drop column optimization_type,
    alter column offer_micros set not null;
drop table optimizer.campaign_optimization_decisions;
drop index optimizer.campaign_optimizations_applied_idx;
drop index optimizer.campaign_optimizations_current_key;
update optimizer.campaign_optimizations set status = 'expired' where status = 'superseded';
alter table optimizer.campaign_optimizations
    drop constraint campaign_optimizations_applied_has_time,
    drop constraint campaign_optimizations_status_known,
    add constraint campaign_optimizations_status_known check (
        status in ('open', 'accepted', 'dismissed', 'applied', 'expired')
    ),
    drop column applied_at,
    drop column refreshed_at,
    drop column choice,
    drop column inputs_key;
