-- The best campaigns of any days, by any metric.

-- name: rank_campaigns :many
-- The best campaigns by metric $3 on the days from $1 to $2, both included: at most $6 of those with a volume of $4
-- or more, of currency $5 or of any (''). From the window kept where it is that one, else from the daily rows.
with kept as materialized (
    select end_day = $2::date and end_day - 29 = $1::date as is_asked from rolling_window
),
sums as materialized (
    select
        t.campaign_id, t.currency_code, t.impressions, t.views, t.clicks, t.conversions, t.revenue_micros,
        t.cost_micros
    from campaign_last_30_days t
    where coalesce((select is_asked from kept), false)
    union all
    select
        d.campaign_id,
        c.counted_currency_code,
        sum(d.impressions)::bigint,
        sum(d.views)::bigint,
        sum(d.clicks)::bigint,
        sum(d.conversions)::bigint,
        sum(d.revenue_micros)::bigint,
        sum(d.cost_micros)::bigint
    from campaign_analytics_daily d
    join campaigns c on c.campaign_id = d.campaign_id
    where d.day between $1::date and $2::date
        and not coalesce((select is_asked from kept), false)
    group by d.campaign_id, c.counted_currency_code
),
measured as (
    select
        s.*,
        case $3::text
            when 'roas' then s.revenue_micros::double precision / nullif(s.cost_micros, 0)
            when 'roi' then (s.revenue_micros - s.cost_micros)::double precision / nullif(s.cost_micros, 0)
            when 'profit_margin' then (s.revenue_micros - s.cost_micros)::double precision
                / case when s.revenue_micros > 0 then s.revenue_micros end
            when 'revenue_per_impression' then s.revenue_micros::double precision / nullif(s.impressions, 0)
            when 'cost_per_conversion' then -s.cost_micros::double precision / nullif(s.conversions, 0)
            when 'conversion_rate' then s.conversions::double precision / nullif(s.views, 0)
            when 'ctr' then s.clicks::double precision / nullif(s.impressions, 0)
            when 'view_rate' then s.views::double precision / nullif(s.impressions, 0)
                -- Undefined where a source reports no views, but what can follow a view.
                / case when s.views > 0 or (s.clicks = 0 and s.conversions = 0) then 1 end
            when 'revenue' then s.revenue_micros
            when 'profit' then s.revenue_micros - s.cost_micros
            when 'cost' then s.cost_micros
            when 'impressions' then s.impressions
            when 'views' then s.views
            when 'clicks' then s.clicks
            when 'conversions' then s.conversions
        end as goodness,
        case
            when $3 in ('roas', 'roi', 'profit_margin', 'revenue_per_impression', 'cost_per_conversion')
                then s.conversions
            when $3 = 'conversion_rate' then s.views
            when $3 in ('ctr', 'view_rate') then s.impressions
            else 9223372036854775807
        end as volume
    from sums s
),
top as (
    select m.*
    from measured m
    where m.goodness is not null
        and m.volume >= $4::bigint
        and ($5::text = '' or m.currency_code = $5)
    order by m.goodness desc, m.campaign_id
    limit $6::integer
)
select
    t.campaign_id, c.campaign_name, t.currency_code, t.impressions, t.views, t.clicks, t.conversions,
    t.revenue_micros, t.cost_micros,
    (select array_agg(distinct s.currency_code) from sums s) as currencies,
    l.users,
    case
        when $3 in ('roas', 'roi', 'profit_margin', 'revenue_per_impression') then l.paying_users
    end as carriers,
    l.conversions as life_conversions,
    case
        when $3 in ('roas', 'roi', 'profit_margin', 'revenue_per_impression') then l.revenue_micros
        when $3 in ('cost_per_conversion', 'conversion_rate') then l.conversions
        when $3 = 'ctr' then l.clicks
        when $3 = 'view_rate' then l.views
    end as y,
    case
        when $3 in ('roas', 'roi', 'profit_margin', 'cost_per_conversion') then l.cost_micros
        when $3 = 'conversion_rate' then l.views
        when $3 in ('revenue_per_impression', 'ctr', 'view_rate') then l.impressions
    end as x,
    case
        when $3 in ('roas', 'roi', 'profit_margin', 'revenue_per_impression') then l.revenue_revenue
        when $3 in ('cost_per_conversion', 'conversion_rate') then l.conversions_conversions
        when $3 = 'ctr' then l.clicks_clicks
        when $3 = 'view_rate' then l.views_views
    end::text as yy,
    case
        when $3 in ('roas', 'roi', 'profit_margin') then l.revenue_cost
        when $3 = 'revenue_per_impression' then l.impressions_revenue
        when $3 = 'cost_per_conversion' then l.conversions_cost
        when $3 = 'conversion_rate' then l.views_conversions
        when $3 = 'ctr' then l.impressions_clicks
        when $3 = 'view_rate' then l.impressions_views
    end::text as xy,
    case
        when $3 in ('roas', 'roi', 'profit_margin', 'cost_per_conversion') then l.cost_cost
        when $3 = 'conversion_rate' then l.views_views
        when $3 in ('revenue_per_impression', 'ctr', 'view_rate') then l.impressions_impressions
    end::text as xx,
    case
        when $3 in ('roas', 'roi', 'profit_margin', 'cost_per_conversion') then l.imported_cost_micros
        else 0
    end as x_known,
    case
        when $3 in ('roas', 'roi', 'profit_margin', 'revenue_per_impression') then l.revenue_revenue_revenue
    end::text as yyy
from top t
left join campaigns c on c.campaign_id = t.campaign_id
left join campaign_totals l on l.campaign_id = t.campaign_id
order by t.goodness desc, t.campaign_id;

-- name: rank_campaigns_by_users :many
-- The campaigns of the highest user conversion rate on the days from $1 to $2, which are the times from $3, before
-- $4: at most $7 of those that reached $5 users or more, of currency $6 or of any (''). Counted from the events,
-- campaign by campaign through their index, because users of a window add up from nothing smaller: the cost grows
-- with the events of the window.
with counted as (
    select
        c.campaign_id, c.campaign_name, c.counted_currency_code as currency_code, u.reached_users,
        u.converting_users
    from campaigns c
    cross join lateral (
        select
            count(*) filter (where p.is_reached) as reached_users,
            count(*) filter (where p.is_reached and p.is_converted) as converting_users
        from (
            select bool_or(e.event_type = 1) as is_reached, bool_or(e.event_type = 4) as is_converted
            from events e
            where e.campaign_id = c.campaign_id
                and e.event_at >= $3::timestamptz and e.event_at < $4::timestamptz
                and e.event_type in (1, 4)
            group by e.user_id
        ) p
    ) u
),
top as (
    select n.*
    from counted n
    where n.reached_users >= greatest($5::bigint, 1) and ($6::text = '' or n.currency_code = $6)
    order by n.converting_users::double precision / n.reached_users desc, n.campaign_id
    limit $7::integer
)
select
    t.campaign_id, t.campaign_name, t.currency_code, t.reached_users, t.converting_users, d.impressions,
    d.views, d.clicks, d.conversions, d.revenue_micros, d.cost_micros
from top t
cross join lateral (
    select
        coalesce(sum(d.impressions), 0)::bigint as impressions,
        coalesce(sum(d.views), 0)::bigint as views,
        coalesce(sum(d.clicks), 0)::bigint as clicks,
        coalesce(sum(d.conversions), 0)::bigint as conversions,
        coalesce(sum(d.revenue_micros), 0)::bigint as revenue_micros,
        coalesce(sum(d.cost_micros), 0)::bigint as cost_micros
    from campaign_analytics_daily d
    where d.campaign_id = t.campaign_id and d.day between $1::date and $2::date
) d
order by t.converting_users::double precision / t.reached_users desc, t.campaign_id;
