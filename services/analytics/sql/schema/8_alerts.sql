-- What is watched, and when to tell. A rule never changes; one that is forgotten (deleted_at) stays for its
-- alerts. `threshold` is a fraction for a drop (kind 3), else in the metric's unit; money in whole micros, which
-- a double holds exactly. No campaign_id: the whole portfolio.
create table analytics.alert_rules (
    rule_id text not null,
    request_id text,
    campaign_id text,
    currency_code text,
    metric text not null,
    kind smallint not null,
    threshold double precision not null,
    days integer not null,
    minimum_volume bigint not null,
    requires_significance boolean not null,
    created_at timestamptz not null,
    deleted_at timestamptz,
    constraint alert_rules_pkey primary key (rule_id),
    constraint alert_rules_request_id_key unique (request_id)
);

-- For list_alert_rules: the newest first.
create index alert_rules_created_idx on analytics.alert_rules (created_at desc, rule_id) where deleted_at is null;

-- Every time that a rule was, or is (no closed_at), out of bounds; the figures are those of its opening.
create table analytics.alerts (
    alert_id text not null,
    rule_id text not null,
    opened_at timestamptz not null,
    closed_at timestamptz,
    value double precision not null,
    value_lower double precision,
    value_upper double precision,
    baseline_value double precision,
    message text not null,
    constraint alerts_pkey primary key (alert_id),
    constraint alerts_rule_id_fkey foreign key (rule_id) references analytics.alert_rules (rule_id),
    constraint alerts_closed_after_opened check (closed_at >= opened_at)
);

-- At most one open alert per rule, whoever evaluates; and for list_live_alert_rules and list_recent_alerts.
create unique index alerts_open_key on analytics.alerts (rule_id) where closed_at is null;

-- For list_alerts: the newest first.
create index alerts_opened_idx on analytics.alerts (opened_at desc, alert_id);

-- For list_recent_alerts: those closed just now.
create index alerts_closed_idx on analytics.alerts (closed_at) where closed_at is not null;

grant select, insert, update, delete on analytics.alert_rules, analytics.alerts to analytics;
grant select on analytics.alert_rules, analytics.alerts to reporting;
