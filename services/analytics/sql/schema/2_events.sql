-- Every acknowledged event, once. `counted_at` is the time whose hour and day the event counts in: its own,
-- or for a refund its original's. `stamped_fields` tells what the sender left out and the catalog filled in
-- (1 offer_amount_micros, 2 merchant_id, 4 channel, added), so that the same event sent again is known as the
-- same whatever the catalog says by then.
create table analytics.events (
    user_id text not null,
    event_id text not null,
    campaign_id text,
    event_at timestamptz not null,
    counted_at timestamptz not null,
    revenue_micros bigint,
    cost_micros bigint,
    offer_amount_micros bigint,
    merchant_id integer,
    segment_set_id integer,
    event_type smallint not null,
    channel smallint,
    stamped_fields smallint not null,
    is_machine_open boolean not null,
    currency_code text not null,
    original_event_id text,
    custom_event_name text,
    propensity double precision,
    policy_version text,
    received_at timestamptz not null default now(),
    constraint events_pkey primary key (user_id, event_id)
);

-- For fetch_range_user_moments, and for neighbours that read one campaign's events by time: everything a
-- range's statistics need is in the index.
create index events_campaign_time_idx on analytics.events (campaign_id, event_at)
    include (user_id, event_type, revenue_micros, cost_micros)
    where campaign_id is not null;

-- For fetch_range_user_moments: a refund counts at its original's time, not at its own.
create index events_refund_counted_idx on analytics.events (campaign_id, counted_at)
    include (user_id, revenue_micros, cost_micros)
    where event_type = 5;

-- For list_refunds_of_originals: what was refunded already of an event.
create index events_original_idx on analytics.events (user_id, original_event_id)
    include (event_id, revenue_micros)
    where original_event_id is not null;

-- For list_portfolio_sides and count_portfolio_campaigns: everybody's events of the last hour before a moment.
-- Ranges are summarized as soon as they are full: what is in no summary is read whole, whatever is looked for.
create index events_counted_idx on analytics.events using brin (counted_at)
    with (pages_per_range = 32, autosummarize = on);

grant select, insert, update, delete on analytics.events to analytics;
grant select on analytics.events to reporting;
