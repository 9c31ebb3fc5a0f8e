-- Users by recency, frequency and money.

-- name: count_user_rfm :one
-- Puts every user with a purchase into a segment, per currency; $1 and $2 are the cells of the grid (recency
-- score, and mean of the scores of frequency and money rounded half up), $3 their segments. Returns how many
-- users there are. Scores are fifths of the users by rank: of recency ties have the higher score, of the
-- others the lower, so that neither the buyers of the last day nor those of one purchase are torn apart.
-- Users who did not change are not written.
with purchasers as (
    select
        user_id, currency_code, sum(purchases) as frequency, sum(revenue_micros)::bigint as monetary_micros,
        max(day) filter (where purchases > 0) as last_purchase_day
    from user_activity_daily
    where purchases <> 0 or revenue_micros <> 0
    group by user_id, currency_code
    having sum(purchases) > 0
),
scored as (
    select
        user_id, currency_code, frequency, monetary_micros, last_purchase_day,
        (
            5 * count(*) over (partition by currency_code order by last_purchase_day)
            + count(*) over (partition by currency_code) - 1
        ) / count(*) over (partition by currency_code) as recency_score,
        1 + 5 * (rank() over (partition by currency_code order by frequency) - 1)
        / count(*) over (partition by currency_code) as frequency_score,
        1 + 5 * (rank() over (partition by currency_code order by monetary_micros) - 1)
        / count(*) over (partition by currency_code) as monetary_score
    from purchasers
),
named as materialized (
    select s.*, g.segment_name
    from scored s
    join unnest($1::integer[], $2::integer[], $3::text[]) as g (recency_score, value_score, segment_name)
        on g.recency_score = s.recency_score
        and g.value_score = (s.frequency_score + s.monetary_score + 1) / 2
),
left_out as (
    delete from user_rfm r
    where not exists (
        select from named n where n.user_id = r.user_id and n.currency_code = r.currency_code
    )
),
kept as (
    insert into user_rfm as t (
        user_id, currency_code, last_purchase_day, frequency, monetary_micros, recency_score, frequency_score,
        monetary_score, segment_name
    )
    select
        user_id, currency_code, last_purchase_day, frequency, monetary_micros, recency_score, frequency_score,
        monetary_score, segment_name
    from named
    on conflict on constraint user_rfm_pkey do update set
        last_purchase_day = excluded.last_purchase_day,
        frequency = excluded.frequency,
        monetary_micros = excluded.monetary_micros,
        recency_score = excluded.recency_score,
        frequency_score = excluded.frequency_score,
        monetary_score = excluded.monetary_score,
        segment_name = excluded.segment_name
    where (
        t.last_purchase_day, t.frequency, t.monetary_micros, t.recency_score, t.frequency_score,
        t.monetary_score, t.segment_name
    ) is distinct from (
        excluded.last_purchase_day, excluded.frequency, excluded.monetary_micros, excluded.recency_score,
        excluded.frequency_score, excluded.monetary_score, excluded.segment_name
    )
)
select count(*) as users
from named;

-- name: clear_rfm_segments :exec
-- Forgets the sums of the segments, of users and of campaigns.
with sums as (
    delete from rfm_segments
)
delete from campaign_segment_moments where segmentation = 'rfm';

-- name: count_rfm_segments :exec
-- Adds up the segments of user_rfm, recency as of the day $1.
insert into rfm_segments (
    currency_code, segment_name, users, recency_days, frequency, monetary_micros
)
select
    currency_code, segment_name, count(*), sum(greatest($1::date - last_purchase_day, 0)), sum(frequency),
    sum(monetary_micros)
from user_rfm
group by currency_code, segment_name;

-- name: count_campaigns_by_rfm :exec
-- Adds up every campaign's users by their segment in its currency; $1 is the segment of users without a
-- purchase.
insert into campaign_segment_moments (
    campaign_id, segmentation, segment_name, users, paying_users, impressions, views, clicks, conversions,
    revenue_micros, cost_micros, impressions_impressions, impressions_views, impressions_clicks, views_views,
    views_conversions, clicks_clicks, conversions_conversions, conversions_revenue, revenue_revenue,
    revenue_revenue_revenue
)
select
    t.campaign_id, 'rfm', coalesce(r.segment_name, $1::text), count(*),
    count(*) filter (where t.revenue_micros > 0), sum(t.impressions), sum(t.views), sum(t.clicks),
    sum(t.conversions), sum(t.revenue_micros), sum(t.cost_micros), sum(t.impressions * t.impressions),
    sum(t.impressions * t.views), sum(t.impressions * t.clicks), sum(t.views * t.views),
    sum(t.views * t.conversions), sum(t.clicks * t.clicks), sum(t.conversions * t.conversions),
    sum(t.conversions::numeric * t.revenue_micros), sum(t.revenue_micros::numeric * t.revenue_micros),
    sum(t.revenue_micros::numeric * t.revenue_micros * t.revenue_micros)
from campaign_user_totals t
join campaigns c on c.campaign_id = t.campaign_id
left join user_rfm r on r.user_id = t.user_id and r.currency_code = c.counted_currency_code
group by t.campaign_id, coalesce(r.segment_name, $1::text);

-- name: list_rfm_segments :many
-- How far the count is, and the sums of the segments of every currency; no rows before the first run of the
-- job.
select
    p.as_of, s.currency_code, s.segment_name, s.users, s.recency_days, s.frequency, s.monetary_micros
from audience_progress p
left join rfm_segments s on true
where p.progress_name = 'rfm'
order by s.currency_code, s.segment_name;
