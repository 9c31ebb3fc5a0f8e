-- What dropped events amounted to, each table as fine as some rollup needs: a recount is the events that are
-- kept and these. Rows are only added to, in the transaction that drops their events; '' and 0 are no campaign
-- and no segments.

-- For hours, days and the portfolio.
create table analytics.sealed_hours (
    campaign_id text not null,
    hour_at timestamptz not null,
    currency_code text not null,
    impressions bigint not null,
    views bigint not null,
    clicks bigint not null,
    conversions bigint not null,
    revenue_micros bigint not null,
    cost_micros bigint not null,
    notification_deliveries bigint not null,
    notification_opens bigint not null,
    geofence_entries bigint not null,
    unsubscribes bigint not null,
    constraint sealed_hours_pkey primary key (campaign_id, hour_at, currency_code)
);

-- For deliveries, and for merchants outside campaigns.
create table analytics.sealed_deliveries (
    campaign_id text not null,
    day date not null,
    currency_code text not null,
    offer_amount_micros bigint not null,
    channel smallint not null,
    merchant_id integer not null,
    impressions bigint not null,
    views bigint not null,
    clicks bigint not null,
    conversions bigint not null,
    revenue_micros bigint not null,
    cost_micros bigint not null,
    notification_deliveries bigint not null,
    notification_opens bigint not null,
    geofence_entries bigint not null,
    unsubscribes bigint not null,
    constraint sealed_deliveries_pkey
        primary key (campaign_id, day, currency_code, offer_amount_micros, channel, merchant_id)
);

-- For segments, by the set of segments that was stamped.
create table analytics.sealed_segments (
    campaign_id text not null,
    segment_set_id integer not null,
    impressions bigint not null,
    views bigint not null,
    clicks bigint not null,
    conversions bigint not null,
    revenue_micros bigint not null,
    cost_micros bigint not null,
    constraint sealed_segments_pkey primary key (campaign_id, segment_set_id)
);

-- For users, and so for the sums over users.
create table analytics.sealed_users (
    campaign_id text not null,
    user_id text not null,
    impressions bigint not null,
    views bigint not null,
    clicks bigint not null,
    conversions bigint not null,
    revenue_micros bigint not null,
    cost_micros bigint not null,
    first_event_at timestamptz not null,
    notification_deliveries bigint not null,
    notification_opens bigint not null,
    constraint sealed_users_pkey primary key (campaign_id, user_id)
);

grant select, insert, update, delete on
    analytics.sealed_hours, analytics.sealed_deliveries, analytics.sealed_segments, analytics.sealed_users
    to analytics;
grant select on
    analytics.sealed_hours, analytics.sealed_deliveries, analytics.sealed_segments, analytics.sealed_users
    to reporting;
