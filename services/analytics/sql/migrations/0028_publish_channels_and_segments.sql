-- migrate:up

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

-- Sums over the users of a campaign's segments as a job measured them last ('given': as stamped on the events, ''
-- for unsegmented users; 'rfm': by recency, frequency and money), with the squares and products that tell how users
-- differ.
create view analytics_v1.campaign_segment_moments as
select
    campaign_id, segmentation, segment_name, users, impressions, views, conversions, revenue_micros,
    impressions_impressions, impressions_views, views_views, views_conversions, conversions_conversions
from analytics.campaign_segment_moments;

grant select on analytics_v1.campaign_channel_daily, analytics_v1.campaign_segment_moments
    to analytics, analytics_reader, reporting;

-- migrate:down
drop view analytics_v1.campaign_segment_moments;
drop view analytics_v1.campaign_channel_daily;
