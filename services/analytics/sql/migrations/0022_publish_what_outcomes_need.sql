-- migrate:up

-- counted_at is the time an event counts at: its own, or for a refund its original's.
create or replace view analytics_v1.campaign_user_events as
select
    campaign_id, user_id, event_id, event_type, event_at, merchant_id, revenue_micros, cost_micros,
    offer_amount_micros, channel, is_machine_open, custom_event_name, propensity, policy_version, counted_at,
    original_event_id
from analytics.events
where campaign_id is not null;

-- What a user did on a day of the reporting zone, in campaigns and outside; a job adds what came in since its
-- last run. acts are events that the user caused; purchases wholly refunded are taken away, and money is on the
-- day of the original.
create view analytics_v1.user_activity_daily as
select user_id, day, currency_code, events, acts, purchases, revenue_micros, cost_micros
from analytics.user_activity_daily;

grant select on analytics_v1.user_activity_daily to analytics, analytics_reader, reporting;

-- migrate:down
drop view analytics_v1.user_activity_daily;
drop view analytics_v1.campaign_user_events;
create view analytics_v1.campaign_user_events as
select
    campaign_id, user_id, event_id, event_type, event_at, merchant_id, revenue_micros, cost_micros,
    offer_amount_micros, channel, is_machine_open, custom_event_name, propensity, policy_version
from analytics.events
where campaign_id is not null;
grant select on analytics_v1.campaign_user_events to analytics, analytics_reader, reporting;
