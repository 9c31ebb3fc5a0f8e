-- migrate:up

-- For count_user_activity: events by when they came in, which is the order in which they lie.
create index events_received_idx on analytics.events using brin (received_at)
    with (pages_per_range = 32, autosummarize = on);

-- Users of a cohort (the day of their first event) with an event in a period of 1, 7 or 30 days since. Days
-- are kept up to the 90th. The first day's active users are the cohort. engaged_users did something
-- themselves.
create table analytics.cohort_activity (
    cohort_day date not null,
    interval_days smallint not null,
    period_index integer not null,
    active_users bigint not null,
    engaged_users bigint not null,
    constraint cohort_activity_pkey primary key (interval_days, cohort_day, period_index)
) with (fillfactor = 80);

-- What the users of a cohort spent in a period by currency, with sums of squares, products and cubes over
-- users.
create table analytics.cohort_money (
    cohort_day date not null,
    interval_days smallint not null,
    period_index integer not null,
    currency_code text not null,
    paying_users bigint not null,
    revenue_micros bigint not null,
    cost_micros bigint not null,
    revenue_revenue numeric not null,
    revenue_cost numeric not null,
    cost_cost numeric not null,
    revenue_revenue_revenue numeric not null,
    constraint cohort_money_pkey primary key (interval_days, cohort_day, period_index, currency_code)
) with (fillfactor = 80);

grant select, insert, update, delete on analytics.cohort_activity, analytics.cohort_money to analytics;
grant select on analytics.cohort_activity, analytics.cohort_money to reporting;

-- migrate:down
drop table analytics.cohort_money;
drop table analytics.cohort_activity;
drop index analytics.events_received_idx;
