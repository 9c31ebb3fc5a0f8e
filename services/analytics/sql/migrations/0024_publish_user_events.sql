-- migrate:up

-- Every single event that is kept, in campaigns and outside, by its own time. segment_set_id are the user's segments
-- when the event came in (null: unsegmented); received_at is when that was, so that a neighbour can go on from where
-- it stopped.
create view analytics_v1.user_events as
select
    user_id, event_id, event_type, event_at, received_at, campaign_id, merchant_id, channel, segment_set_id,
    offer_amount_micros, revenue_micros, cost_micros, currency_code, is_machine_open, propensity, policy_version,
    original_event_id
from analytics.events;

grant select on analytics_v1.user_events to analytics, analytics_reader, reporting;

-- migrate:down
drop view analytics_v1.user_events;
