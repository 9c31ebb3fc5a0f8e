-- The reporting zone decides which hour and day an event counts in; one row, written at the first start.
-- `sealed_through` is the last day whose raw events are dropped or being dropped; it never goes back.
-- `sealed_at` is when it was last raised: whatever was received before is committed. Through `dropped_through`
-- nothing is left to drop.
create table analytics.reporting_settings (
    singleton boolean not null default true,
    reporting_time_zone text not null,
    sealed_through date,
    sealed_at timestamptz,
    dropped_through date,
    constraint reporting_settings_pkey primary key (singleton),
    constraint reporting_settings_one_row check (singleton)
);

-- A set of segments under a small number, so that events and rollups carry the number and not the names.
create table analytics.segment_sets (
    segment_set_id integer generated always as identity,
    segments text[] not null,
    constraint segment_sets_pkey primary key (segment_set_id),
    constraint segment_sets_segments_key unique (segments)
);

create table analytics.merchants (
    merchant_id integer not null,
    merchant_name text,
    category text,
    latitude double precision,
    longitude double precision,
    currency_code text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint merchants_pkey primary key (merchant_id)
);

-- counted_currency_code is the currency fixed by the campaign's first event.
create table analytics.campaigns (
    campaign_id text not null,
    campaign_name text,
    campaign_type smallint,
    merchant_id integer,
    channel smallint,
    offer_amount_micros bigint,
    gross_margin_rate double precision,
    currency_code text,
    start_at timestamptz,
    end_at timestamptz,
    counted_currency_code text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint campaigns_pkey primary key (campaign_id),
    constraint campaigns_offer_not_negative check (offer_amount_micros >= 0),
    constraint campaigns_margin_is_fraction check (gross_margin_rate between 0 and 1),
    constraint campaigns_end_after_start check (end_at > start_at)
);

create table analytics.users (
    user_id text not null,
    sign_up_at timestamptz,
    time_zone text,
    segment_set_id integer,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint users_pkey primary key (user_id)
);

grant select, insert, update, delete on
    analytics.reporting_settings, analytics.segment_sets, analytics.merchants, analytics.campaigns,
    analytics.users
    to analytics;
grant select on
    analytics.reporting_settings, analytics.segment_sets, analytics.merchants, analytics.campaigns,
    analytics.users
    to reporting;
