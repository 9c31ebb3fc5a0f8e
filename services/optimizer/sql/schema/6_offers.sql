-- Who viewed a campaign at which of its offers, over the days that a version was trained on; segment_set_id is
-- analytics' (0: unsegmented). Kept as long as the version's files, for versions that may go live.
create table optimizer.campaign_audiences (
    campaign_id text not null,
    offer_amount_micros bigint not null,
    segment_set_id integer not null,
    views bigint not null,
    model_name text not null,
    model_version bigint not null,
    constraint campaign_audiences_pkey
        primary key (model_name, model_version, campaign_id, offer_amount_micros, segment_set_id),
    constraint campaign_audiences_views_positive check (views > 0),
    constraint campaign_audiences_model_fkey foreign key (model_name, model_version)
        references optimizer.ml_models (model_name, version) on delete cascade
);

-- What offers must keep, by campaign or by merchant (scope_id is its id as text); null is no limit. A budget is a
-- campaign's only.
create table optimizer.offer_constraints (
    scope text not null,
    scope_id text not null,
    maximum_offer_micros bigint,
    minimum_profit_margin double precision,
    daily_budget_micros bigint,
    actor text not null,
    comment text not null,
    updated_at timestamptz not null,
    constraint offer_constraints_pkey primary key (scope, scope_id),
    constraint offer_constraints_scope_known check (scope in ('campaign', 'merchant')),
    constraint offer_constraints_maximum_offer_positive check (maximum_offer_micros > 0),
    constraint offer_constraints_margin_is_share check (minimum_profit_margin between -1 and 1),
    constraint offer_constraints_daily_budget_positive check (daily_budget_micros > 0),
    constraint offer_constraints_budget_is_campaigns check (
        scope = 'campaign' or daily_budget_micros is null
    )
);

grant select, insert, update, delete on optimizer.campaign_audiences, optimizer.offer_constraints to optimizer;
grant select on optimizer.campaign_audiences, optimizer.offer_constraints to reporting;
