-- migrate:up

-- Which training made a version, null for one made by hand: no training rejects what another one made.
-- is_rolled_back: an earlier version took its place, so that going back does not return to it by itself.
alter table optimizer.ml_models
    add column training_id uuid,
    add column is_rolled_back boolean not null default false;

-- Audiences belong to the version whose days they were counted on; those that are there, to the live one.
alter table optimizer.campaign_audiences
    add column model_name text,
    add column model_version bigint;

update optimizer.campaign_audiences
set model_name = live.model_name, model_version = live.version
from optimizer.ml_models as live
where live.model_name = 'conversion' and live.status = 'live';

delete from optimizer.campaign_audiences where model_version is null;

alter table optimizer.campaign_audiences
    alter column model_name set not null,
    alter column model_version set not null,
    drop constraint campaign_audiences_pkey,
    add constraint campaign_audiences_pkey
        primary key (model_name, model_version, campaign_id, offer_amount_micros, segment_set_id),
    add constraint campaign_audiences_model_fkey foreign key (model_name, model_version)
        references optimizer.ml_models (model_name, version) on delete cascade;

-- migrate:down
delete from optimizer.campaign_audiences
where (model_name, model_version) not in (
    select model_name, version from optimizer.ml_models where status = 'live'
);

alter table optimizer.campaign_audiences
    drop constraint campaign_audiences_model_fkey,
    drop constraint campaign_audiences_pkey,
    drop column model_version,
    drop column model_name,
    add constraint campaign_audiences_pkey primary key (campaign_id, offer_amount_micros, segment_set_id);

alter table optimizer.ml_models
    drop column is_rolled_back,
    drop column training_id;
