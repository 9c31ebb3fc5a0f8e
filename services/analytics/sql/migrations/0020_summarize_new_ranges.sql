-- migrate:up

-- What was written since the last vacuum is in no summary and is read whole whatever is looked for, and on a large
-- table a vacuum comes late (after a fifth more rows). So each range is summarized as soon as it is full.
alter index analytics.events_counted_idx set (autosummarize = on);
alter index analytics.campaign_analytics_daily_day_idx set (autosummarize = on);
alter index analytics.campaign_delivery_daily_day_idx set (autosummarize = on);

-- migrate:down
alter index analytics.events_counted_idx reset (autosummarize);
alter index analytics.campaign_analytics_daily_day_idx reset (autosummarize);
alter index analytics.campaign_delivery_daily_day_idx reset (autosummarize);
