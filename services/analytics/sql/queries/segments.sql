-- Campaigns by the segments of their users.

-- name: list_given_segments :many
-- A campaign's currency, and its segments as stamped with the sums over their users (`measured_…`, null where
-- a job has not measured them yet); one row without a segment before its first event.
select
    c.counted_currency_code, a.segment_name, a.impressions, a.views, a.clicks, a.conversions,
    a.revenue_micros, a.cost_micros, m.users, m.paying_users, m.impressions as measured_impressions,
    m.views as measured_views, m.clicks as measured_clicks, m.conversions as measured_conversions,
    m.revenue_micros as measured_revenue_micros, m.cost_micros as measured_cost_micros,
    m.impressions_impressions, m.impressions_views,
    m.impressions_clicks, m.views_views, m.views_conversions, m.clicks_clicks, m.conversions_conversions,
    m.conversions_revenue, m.revenue_revenue, m.revenue_revenue_revenue, null::timestamptz as as_of
from campaigns c
left join campaign_segment_analytics a on a.campaign_id = c.campaign_id
left join campaign_segment_moments m on m.campaign_id = a.campaign_id and m.segmentation = 'given'
    and m.segment_name = a.segment_name
where c.campaign_id = $1::text;

-- name: list_rfm_segments_of_campaign :many
-- A campaign's currency, and its users by recency, frequency and money, in the shape of list_given_segments.
select
    c.counted_currency_code, m.segment_name, m.impressions, m.views, m.clicks, m.conversions,
    m.revenue_micros, m.cost_micros, m.users, m.paying_users, m.impressions as measured_impressions,
    m.views as measured_views, m.clicks as measured_clicks, m.conversions as measured_conversions,
    m.revenue_micros as measured_revenue_micros, m.cost_micros as measured_cost_micros,
    m.impressions_impressions, m.impressions_views,
    m.impressions_clicks, m.views_views, m.views_conversions, m.clicks_clicks, m.conversions_conversions,
    m.conversions_revenue, m.revenue_revenue, m.revenue_revenue_revenue, p.as_of
from campaigns c
left join audience_progress p on p.progress_name = 'rfm'
left join campaign_segment_moments m on m.campaign_id = c.campaign_id and m.segmentation = 'rfm'
where c.campaign_id = $1::text;

-- name: list_segment_reversals :many
-- Pairs of a campaign's segments whose order by a metric turns around within strata, the most certain first.
select
    first_name, second_name, stratified_by, metric, pooled_difference, stratified_difference,
    stratified_lower, stratified_upper, agreeing_weight, adjusted_p_value
from campaign_segment_reversals
where campaign_id = $1::text and segmentation = $2::text and metric = $3::text
order by adjusted_p_value, first_name, second_name, stratified_by;

-- name: list_campaigns_to_measure :many
-- Campaigns whose segments were never measured, or that grew since by more than the fraction $1; with how
-- many events they have.
select
    t.campaign_id, t.impressions + t.views + t.clicks + t.conversions as counted_events
from campaign_totals t
left join campaign_segment_measures m on m.campaign_id = t.campaign_id
where m.campaign_id is null
    or t.impressions + t.views + t.clicks + t.conversions > m.counted_events * (1 + $1::double precision)
order by t.campaign_id;

-- name: upsert_segment_measure :exec
-- Keeps that a campaign is measured; first of all, so that two measures of it come one after the other.
insert into campaign_segment_measures (campaign_id, counted_events, measured_at)
values ($1::text, $2::bigint, $3::timestamptz)
on conflict on constraint campaign_segment_measures_pkey do update set
    counted_events = excluded.counted_events,
    measured_at = excluded.measured_at;

-- name: list_segment_moments :many
-- Sums over the users of a campaign's segments as stamped, counted from its events.
with per_set as (
    select
        user_id, segment_set_id,
        count(*) filter (where event_type = 1) as impressions,
        count(*) filter (where event_type = 2) as views,
        count(*) filter (where event_type = 3) as clicks,
        count(*) filter (where event_type = 4) as conversions,
        coalesce(
            sum(case when event_type = 5 then -revenue_micros else revenue_micros end), 0
        )::bigint as revenue_micros,
        coalesce(sum(cost_micros), 0)::bigint as cost_micros
    from events
    where campaign_id = $1::text
    group by user_id, segment_set_id
),
per_user as (
    select
        coalesce(n.segment_name, '') as segment_name, p.user_id, sum(p.impressions)::bigint as impressions,
        sum(p.views)::bigint as views, sum(p.clicks)::bigint as clicks,
        sum(p.conversions)::bigint as conversions, sum(p.revenue_micros)::bigint as revenue_micros,
        sum(p.cost_micros)::bigint as cost_micros
    from per_set p
    left join segment_sets s on s.segment_set_id = p.segment_set_id
    left join lateral unnest(s.segments) as n (segment_name) on true
    group by coalesce(n.segment_name, ''), p.user_id
)
select
    segment_name, count(*) as users, count(*) filter (where revenue_micros > 0) as paying_users,
    sum(impressions)::bigint as measured_impressions, sum(views)::bigint as measured_views,
    sum(clicks)::bigint as measured_clicks, sum(conversions)::bigint as measured_conversions,
    sum(revenue_micros)::bigint as measured_revenue_micros, sum(cost_micros)::bigint as measured_cost_micros,
    sum(impressions * impressions)::bigint as impressions_impressions,
    sum(impressions * views)::bigint as impressions_views,
    sum(impressions * clicks)::bigint as impressions_clicks,
    sum(views * views)::bigint as views_views,
    sum(views * conversions)::bigint as views_conversions,
    sum(clicks * clicks)::bigint as clicks_clicks,
    sum(conversions * conversions)::bigint as conversions_conversions,
    sum(conversions::numeric * revenue_micros) as conversions_revenue,
    sum(revenue_micros::numeric * revenue_micros) as revenue_revenue,
    sum(revenue_micros::numeric * revenue_micros * revenue_micros) as revenue_revenue_revenue
from per_user
group by segment_name;

-- name: list_moments_by_rfm :many
-- Sums over the users of a campaign's segments by recency, frequency and money, as of the last run of that
-- job.
select
    segment_name, users, paying_users, impressions as measured_impressions, views as measured_views,
    clicks as measured_clicks, conversions as measured_conversions,
    revenue_micros as measured_revenue_micros, cost_micros as measured_cost_micros,
    impressions_impressions, impressions_views, impressions_clicks,
    views_views, views_conversions, clicks_clicks, conversions_conversions, conversions_revenue,
    revenue_revenue, revenue_revenue_revenue
from campaign_segment_moments
where campaign_id = $1::text and segmentation = 'rfm';

-- name: list_segment_strata :many
-- A campaign's counts by segment (given, and by recency, frequency and money) within channel, offer and
-- month; $2 is the segment of users without a purchase.
with tallied as materialized (
    select
        e.segment_set_id, coalesce(r.segment_name, $2::text) as rfm_segment, coalesce(e.channel, 0) as channel,
        coalesce(e.offer_amount_micros, -1) as offer_amount_micros,
        to_char(e.counted_at at time zone z.reporting_time_zone, 'YYYY-MM') as month,
        count(*) filter (where e.event_type = 1) as impressions,
        count(*) filter (where e.event_type = 2) as views,
        count(*) filter (where e.event_type = 3) as clicks,
        count(*) filter (where e.event_type = 4) as conversions
    from events e
    cross join reporting_settings z
    left join user_rfm r on r.user_id = e.user_id and r.currency_code = e.currency_code
    where e.campaign_id = $1::text and e.event_type in (1, 2, 3, 4)
    group by 1, 2, 3, 4, 5
),
labelled as (
    select
        'given' as segmentation, coalesce(n.segment_name, '') as segment_name, t.channel,
        t.offer_amount_micros, t.month, t.impressions, t.views, t.clicks, t.conversions
    from tallied t
    left join segment_sets s on s.segment_set_id = t.segment_set_id
    left join lateral unnest(s.segments) as n (segment_name) on true
    union all
    select
        'rfm', rfm_segment, channel, offer_amount_micros, month, impressions, views, clicks, conversions
    from tallied
)
select
    l.segmentation, l.segment_name, s.stratified_by, s.stratum, sum(l.impressions)::bigint as impressions,
    sum(l.views)::bigint as views, sum(l.clicks)::bigint as clicks, sum(l.conversions)::bigint as conversions
from labelled l
cross join lateral (
    values
        ('channel', l.channel::text),
        ('offer_amount', l.offer_amount_micros::text),
        ('month', l.month)
) as s (stratified_by, stratum)
group by l.segmentation, l.segment_name, s.stratified_by, s.stratum;

-- name: clear_segment_measures :exec
-- Forgets what a campaign's segments were measured to be.
with moments as (
    delete from campaign_segment_moments where campaign_id = $1::text and segmentation = 'given'
)
delete from campaign_segment_reversals where campaign_id = $1::text;

-- name: insert_segment_moments :exec
-- Keeps the sums over the users of one segment as stamped.
insert into campaign_segment_moments (
    campaign_id, segmentation, segment_name, users, paying_users, impressions, views, clicks, conversions,
    revenue_micros, cost_micros, impressions_impressions, impressions_views, impressions_clicks, views_views,
    views_conversions, clicks_clicks, conversions_conversions, conversions_revenue, revenue_revenue,
    revenue_revenue_revenue
)
values (
    $1::text, 'given', $2::text, $3::bigint, $4::bigint, $5::bigint, $6::bigint, $7::bigint, $8::bigint,
    $9::bigint, $10::bigint, $11::bigint, $12::bigint, $13::bigint, $14::bigint, $15::bigint, $16::bigint,
    $17::bigint, $18::numeric, $19::numeric, $20::numeric
);

-- name: insert_segment_reversal :exec
-- Keeps one pair of segments whose order turns around.
insert into campaign_segment_reversals (
    campaign_id, segmentation, first_name, second_name, stratified_by, metric, pooled_difference,
    stratified_difference, stratified_lower, stratified_upper, agreeing_weight, adjusted_p_value
)
values (
    $1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::double precision, $8::double precision,
    $9::double precision, $10::double precision, $11::double precision, $12::double precision
);
