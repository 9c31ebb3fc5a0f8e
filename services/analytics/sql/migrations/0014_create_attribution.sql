-- migrate:up

-- What attribution has counted up to: every event received before counted_at is in attribution_daily, or its month
-- is marked stale in attribution_months. One row, written by the first run.
create table analytics.attribution_state (
    singleton boolean not null default true,
    received_before timestamptz not null,
    lookback_days integer not null,
    reporting_time_zone text not null,
    constraint attribution_state_pkey primary key (singleton),
    constraint attribution_state_one_row check (singleton)
);

-- The months (their first days) of which something was attributed. A stale one waits to be counted again, for the
-- first time where counted_at is null; counted_at is the time before which every event received is in it.
create table analytics.attribution_months (
    month date not null,
    is_stale boolean not null,
    counted_at timestamptz,
    constraint attribution_months_pkey primary key (month)
);

-- What is divided: conversions of campaigns and plain purchases that followed a touch, by day of the reporting zone
-- and currency. conversions_without_group leaves out one group of users after the other, for intervals.
create table analytics.attribution_days (
    day date not null,
    currency_code text not null,
    conversions bigint not null,
    direct_conversions bigint not null,
    touched_purchases bigint not null,
    revenue_micros bigint not null,
    conversions_without_group real[] not null,
    constraint attribution_days_pkey primary key (day, currency_code)
);

-- What each model credits a campaign with, by day of the conversion. Beside the models, `counted` holds the
-- conversions that name the campaign, and `direct` those of them without a touch of it. Conversions are in
-- millionths, so that they are divided exactly; microconversions_without_group as in attribution_days, empty where
-- there are none.
create table analytics.attribution_daily (
    campaign_id text not null,
    day date not null,
    model text not null,
    currency_code text not null,
    microconversions bigint not null,
    revenue_micros bigint not null,
    microconversions_without_group real[] not null,
    constraint attribution_daily_pkey primary key (campaign_id, day, model, currency_code)
);

-- For list_portfolio_credits: one model's credits of some days; and for the run that replaces a month.
create index attribution_daily_model_day_idx on analytics.attribution_daily (model, day)
    include (currency_code, campaign_id, microconversions, revenue_micros);

-- The campaigns that have a currency, numbered within it. A campaign of which no view or click was ever reported is
-- touched by its deliveries.
create view analytics.attribution_campaigns as
select
    c.campaign_id,
    c.counted_currency_code as currency_code,
    (dense_rank() over (order by c.counted_currency_code))::smallint as currency_number,
    (row_number() over (partition by c.counted_currency_code order by c.campaign_id))::integer
        as campaign_number,
    coalesce(t.views + t.clicks, 0) = 0 as is_touched_by_delivery
from analytics.campaigns c
left join analytics.campaign_totals t on t.campaign_id = c.campaign_id
where c.counted_currency_code is not null;

grant select, insert, update, delete on
    analytics.attribution_state, analytics.attribution_months, analytics.attribution_days,
    analytics.attribution_daily
    to analytics;
grant select on
    analytics.attribution_state, analytics.attribution_months, analytics.attribution_days,
    analytics.attribution_daily, analytics.attribution_campaigns
    to analytics, reporting;

-- migrate:down
drop view analytics.attribution_campaigns;
drop table analytics.attribution_daily;
drop table analytics.attribution_days;
drop table analytics.attribution_months;
drop table analytics.attribution_state;
