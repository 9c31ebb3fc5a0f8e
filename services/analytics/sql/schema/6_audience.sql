-- How far the audience jobs are. `user_activity` has counted every event received before received_until, in
-- the days of reporting_time_zone; `rfm` put users into segments by what was counted at its as_of.
create table analytics.audience_progress (
    progress_name text not null,
    as_of timestamptz not null,
    received_until timestamptz not null,
    reporting_time_zone text not null,
    constraint audience_progress_pkey primary key (progress_name)
);

-- What each user did on each day of the reporting zone, kept by a job and never sealed: cohorts and recency,
-- frequency and money are counted from it. Events and acts (events that the user caused: neither sent nor
-- refunded) count on their own day; purchases (those wholly refunded taken away) and money on the day of the
-- original, as everywhere.
create table analytics.user_activity_daily (
    user_id text not null,
    day date not null,
    currency_code text not null,
    events integer not null,
    acts integer not null,
    purchases integer not null,
    revenue_micros bigint not null,
    cost_micros bigint not null,
    constraint user_activity_daily_pkey primary key (user_id, day, currency_code)
) with (fillfactor = 90);

-- Recency, frequency and money of each user with a purchase, by currency, as of the last run of the job.
create table analytics.user_rfm (
    user_id text not null,
    currency_code text not null,
    last_purchase_day date not null,
    frequency bigint not null,
    monetary_micros bigint not null,
    recency_score smallint not null,
    frequency_score smallint not null,
    monetary_score smallint not null,
    segment_name text not null,
    constraint user_rfm_pkey primary key (user_id, currency_code)
) with (fillfactor = 80);

-- The sums of each segment of user_rfm, so that its sizes are read without reading the users. recency_days is
-- the sum over users.
create table analytics.rfm_segments (
    currency_code text not null,
    segment_name text not null,
    users bigint not null,
    recency_days bigint not null,
    frequency bigint not null,
    monetary_micros bigint not null,
    constraint rfm_segments_pkey primary key (currency_code, segment_name)
);

-- Sums over the users of a campaign's segments, squares, products and cubes among them, as of a run of a job:
-- the user is the unit of every interval. segmentation is `given` (as stamped; the counts themselves are in
-- campaign_segment_analytics) or `rfm`.
create table analytics.campaign_segment_moments (
    campaign_id text not null,
    segmentation text not null,
    segment_name text not null,
    users bigint not null,
    paying_users bigint not null,
    impressions bigint not null,
    views bigint not null,
    clicks bigint not null,
    conversions bigint not null,
    revenue_micros bigint not null,
    cost_micros bigint not null,
    impressions_impressions bigint not null,
    impressions_views bigint not null,
    impressions_clicks bigint not null,
    views_views bigint not null,
    views_conversions bigint not null,
    clicks_clicks bigint not null,
    conversions_conversions bigint not null,
    conversions_revenue numeric not null,
    revenue_revenue numeric not null,
    revenue_revenue_revenue numeric not null,
    constraint campaign_segment_moments_pkey primary key (campaign_id, segmentation, segment_name),
    constraint campaign_segment_moments_segmentation check (segmentation in ('given', 'rfm'))
);

-- How many events (impressions, views, clicks, conversions) a campaign had when its segments were measured
-- last.
create table analytics.campaign_segment_measures (
    campaign_id text not null,
    counted_events bigint not null,
    measured_at timestamptz not null,
    constraint campaign_segment_measures_pkey primary key (campaign_id)
);

-- Pairs of a campaign's segments whose order turns around within strata, as of its last measure.
create table analytics.campaign_segment_reversals (
    campaign_id text not null,
    segmentation text not null,
    metric text not null,
    stratified_by text not null,
    first_name text not null,
    second_name text not null,
    pooled_difference double precision not null,
    stratified_difference double precision not null,
    stratified_lower double precision not null,
    stratified_upper double precision not null,
    agreeing_weight double precision not null,
    adjusted_p_value double precision not null,
    constraint campaign_segment_reversals_pkey
        primary key (campaign_id, segmentation, metric, stratified_by, first_name, second_name)
);

-- Recency, frequency and money, one row per user and currency. recency_days are whole days of the reporting
-- zone from the last purchase to as_of.
create view analytics_v1.user_rfm as
select
    r.user_id,
    greatest((p.as_of at time zone p.reporting_time_zone)::date - r.last_purchase_day, 0) as recency_days,
    r.frequency,
    r.monetary_micros,
    r.segment_name,
    p.as_of,
    r.currency_code
from analytics.user_rfm r
join analytics.audience_progress p on p.progress_name = 'rfm';

grant select, insert, update, delete on
    analytics.audience_progress, analytics.user_activity_daily, analytics.user_rfm, analytics.rfm_segments,
    analytics.campaign_segment_moments, analytics.campaign_segment_measures,
    analytics.campaign_segment_reversals
    to analytics;
grant select on
    analytics.audience_progress, analytics.user_activity_daily, analytics.user_rfm, analytics.rfm_segments,
    analytics.campaign_segment_moments, analytics.campaign_segment_measures,
    analytics.campaign_segment_reversals
    to reporting;
grant select on analytics_v1.user_rfm to analytics, analytics_reader, reporting;

-- Sums over the users of a campaign's segments as a job measured them last ('given': as stamped on the events, ''
-- for unsegmented users; 'rfm': by recency, frequency and money), with the squares and products that tell how users
-- differ.
create view analytics_v1.campaign_segment_moments as
select
    campaign_id, segmentation, segment_name, users, impressions, views, conversions, revenue_micros,
    impressions_impressions, impressions_views, views_views, views_conversions, conversions_conversions
from analytics.campaign_segment_moments;

grant select on analytics_v1.campaign_segment_moments to analytics, analytics_reader, reporting;

-- What a user did on a day of the reporting zone, in campaigns and outside; a job adds what came in since its
-- last run. acts are events that the user caused; purchases wholly refunded are taken away, and money is on the
-- day of the original.
create view analytics_v1.user_activity_daily as
select user_id, day, currency_code, events, acts, purchases, revenue_micros, cost_micros
from analytics.user_activity_daily;

grant select on analytics_v1.user_activity_daily to analytics, analytics_reader, reporting;

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
