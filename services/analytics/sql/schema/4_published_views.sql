-- What neighbours may read, version 1: columns may be added at the end, nothing else may change.

-- Single events through `sealed_through` are no longer kept (null: all are).
create view analytics_v1.reporting_settings as
select reporting_time_zone, sealed_through
from analytics.reporting_settings;

create view analytics_v1.campaigns as
select
    campaign_id, campaign_name, campaign_type, merchant_id, channel, offer_amount_micros, gross_margin_rate,
    coalesce(counted_currency_code, currency_code) as currency_code, start_at, end_at
from analytics.campaigns;

create view analytics_v1.merchants as
select merchant_id, merchant_name, category, latitude, longitude, currency_code
from analytics.merchants;

create view analytics_v1.users as
select
    u.user_id, u.sign_up_at, u.time_zone, coalesce(s.segments, '{}'::text[]) as segments, u.segment_set_id
from analytics.users u
left join analytics.segment_sets s using (segment_set_id);

-- A set of segments by its number, so that a neighbour can keep the number with what it keeps of a user. Sets are
-- only ever added.
create view analytics_v1.segment_sets as
select segment_set_id, segments
from analytics.segment_sets;

-- Events with a campaign, by their own time (a refund's too). counted_at is the time an event counts at: its own,
-- or for a refund its original's.
create view analytics_v1.campaign_user_events as
select
    campaign_id, user_id, event_id, event_type, event_at, merchant_id, revenue_micros, cost_micros,
    offer_amount_micros, channel, is_machine_open, custom_event_name, propensity, policy_version, counted_at,
    original_event_id
from analytics.events
where campaign_id is not null;

-- Plain purchases: conversions at a merchant without a campaign. Refunds of them are not subtracted here.
create view analytics_v1.purchases as
select user_id, event_id, merchant_id, event_at, revenue_micros
from analytics.events
where campaign_id is null and event_type = 4;

-- Every single event that is kept, in campaigns and outside, by its own time. segment_set_id are the user's segments
-- when the event came in (null: unsegmented); received_at is when that was, so that a neighbour can go on from where
-- it stopped.
create view analytics_v1.user_events as
select
    user_id, event_id, event_type, event_at, received_at, campaign_id, merchant_id, channel, segment_set_id,
    offer_amount_micros, revenue_micros, cost_micros, currency_code, is_machine_open, propensity, policy_version,
    original_event_id
from analytics.events;

-- By the offer as sent (null where unknown) and the day of the reporting zone; a refund subtracts from its
-- original's day and offer.
create view analytics_v1.campaign_offer_daily as
select
    campaign_id, day, nullif(offer_amount_micros, -1) as offer_amount_micros,
    sum(impressions)::bigint as impressions,
    sum(views)::bigint as views,
    sum(clicks)::bigint as clicks,
    sum(conversions)::bigint as conversions,
    sum(revenue_micros)::bigint as revenue_micros,
    sum(cost_micros)::bigint as cost_micros
from analytics.campaign_delivery_daily
group by campaign_id, day, offer_amount_micros;

-- By the channel as sent (null where unknown) and the day of the reporting zone; a refund subtracts from its
-- original's day and channel.
create view analytics_v1.campaign_channel_daily as
select
    campaign_id, day, nullif(channel, 0) as channel,
    sum(impressions)::bigint as impressions,
    sum(views)::bigint as views,
    sum(clicks)::bigint as clicks,
    sum(conversions)::bigint as conversions,
    sum(revenue_micros)::bigint as revenue_micros,
    sum(cost_micros)::bigint as cost_micros
from analytics.campaign_delivery_daily
group by campaign_id, day, channel;

grant select on
    analytics_v1.reporting_settings, analytics_v1.campaigns, analytics_v1.merchants, analytics_v1.users,
    analytics_v1.campaign_user_events, analytics_v1.purchases, analytics_v1.campaign_offer_daily,
    analytics_v1.segment_sets, analytics_v1.user_events, analytics_v1.campaign_channel_daily
    to analytics, analytics_reader, reporting;
