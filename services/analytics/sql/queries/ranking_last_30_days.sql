-- The ten best campaigns of the last 30 days.
--
-- Each statement answers the usual question for one metric, ten campaigns at the metric's minimum volume, from the
-- first entries of its index: limit and minimum are literals as in the index's predicate, because a parameter there
-- would have every call planned anew. $1 is the last day of the window: no row where the window kept is another. $2
-- is the currency, '' for any (for money: the only one there is; `currencies` names all). The life's sums over users
-- come along for the interval of y over x, looked up row by row (`offset 0`), and as text, because the driver takes
-- a numeric apart for longer than the server finds it. `rank_campaigns` answers every other question.

-- name: list_top_of_last_30_days_by_roas :many
-- The ten campaigns of the highest ROAS.
select
    t.campaign_id, c.campaign_name, t.currency_code, t.impressions, t.views, t.clicks, t.conversions,
    t.revenue_micros, t.cost_micros,
    l.users, l.carriers, l.life_conversions, l.y, l.x, l.x_known, l.yy, l.xy, l.xx, l.yyy
from (
    select t.*
    from campaign_last_30_days t
    where (select w.end_day from rolling_window w) = $1::date
        and ($2::text = '' or t.currency_code = $2)
        and t.conversions >= 20 and t.cost_micros > 0
    order by t.roas desc, t.campaign_id
    limit 10
) t
left join lateral (
    select c.campaign_name from campaigns c where c.campaign_id = t.campaign_id offset 0
) c on true
left join lateral (
    select
        l.users, l.paying_users as carriers, l.conversions as life_conversions,
        l.revenue_micros as y, l.cost_micros as x, l.imported_cost_micros as x_known,
        l.revenue_revenue::text as yy, l.revenue_cost::text as xy, l.cost_cost::text as xx,
        l.revenue_revenue_revenue::text as yyy
    from campaign_totals l
    where l.campaign_id = t.campaign_id
    offset 0
) l on true
order by t.roas desc, t.campaign_id;

-- name: list_top_of_last_30_days_by_profit_margin :many
-- The ten campaigns of the highest profit margin.
select
    t.campaign_id, c.campaign_name, t.currency_code, t.impressions, t.views, t.clicks, t.conversions,
    t.revenue_micros, t.cost_micros,
    l.users, l.carriers, l.life_conversions, l.y, l.x, l.x_known, l.yy, l.xy, l.xx, l.yyy
from (
    select t.*
    from campaign_last_30_days t
    where (select w.end_day from rolling_window w) = $1::date
        and ($2::text = '' or t.currency_code = $2)
        and t.conversions >= 20 and t.revenue_micros > 0
    order by t.profit_margin desc, t.campaign_id
    limit 10
) t
left join lateral (
    select c.campaign_name from campaigns c where c.campaign_id = t.campaign_id offset 0
) c on true
left join lateral (
    select
        l.users, l.paying_users as carriers, l.conversions as life_conversions,
        l.revenue_micros as y, l.cost_micros as x, l.imported_cost_micros as x_known,
        l.revenue_revenue::text as yy, l.revenue_cost::text as xy, l.cost_cost::text as xx,
        l.revenue_revenue_revenue::text as yyy
    from campaign_totals l
    where l.campaign_id = t.campaign_id
    offset 0
) l on true
order by t.profit_margin desc, t.campaign_id;

-- name: list_top_of_last_30_days_by_revenue_per_impression :many
-- The ten campaigns of the highest revenue per impression.
select
    t.campaign_id, c.campaign_name, t.currency_code, t.impressions, t.views, t.clicks, t.conversions,
    t.revenue_micros, t.cost_micros,
    (select array_agg(distinct p.currency_code) from portfolio_last_30_days p where p.campaigns > 0)
        as currencies,
    l.users, l.carriers, l.life_conversions, l.y, l.x, l.x_known, l.yy, l.xy, l.xx, l.yyy
from (
    select t.*
    from campaign_last_30_days t
    where (select w.end_day from rolling_window w) = $1::date
        and t.currency_code = coalesce(
            nullif($2::text, ''),
            (select min(p.currency_code) from portfolio_last_30_days p where p.campaigns > 0)
        )
        and t.conversions >= 20
    order by t.revenue_micros_per_impression desc, t.campaign_id
    limit 10
) t
left join lateral (
    select c.campaign_name from campaigns c where c.campaign_id = t.campaign_id offset 0
) c on true
left join lateral (
    select
        l.users, l.paying_users as carriers, l.conversions as life_conversions,
        l.revenue_micros as y, l.impressions as x, 0::bigint as x_known,
        l.revenue_revenue::text as yy, l.impressions_revenue::text as xy, l.impressions_impressions::text as xx,
        l.revenue_revenue_revenue::text as yyy
    from campaign_totals l
    where l.campaign_id = t.campaign_id
    offset 0
) l on true
order by t.revenue_micros_per_impression desc, t.campaign_id;

-- name: list_top_of_last_30_days_by_cost_per_conversion :many
-- The ten campaigns of the lowest cost per conversion; y over x is its inverse, because x can have a known part.
select
    t.campaign_id, c.campaign_name, t.currency_code, t.impressions, t.views, t.clicks, t.conversions,
    t.revenue_micros, t.cost_micros,
    (select array_agg(distinct p.currency_code) from portfolio_last_30_days p where p.campaigns > 0)
        as currencies,
    l.users, l.carriers, l.life_conversions, l.y, l.x, l.x_known, l.yy, l.xy, l.xx, l.yyy
from (
    select t.*
    from campaign_last_30_days t
    where (select w.end_day from rolling_window w) = $1::date
        and t.currency_code = coalesce(
            nullif($2::text, ''),
            (select min(p.currency_code) from portfolio_last_30_days p where p.campaigns > 0)
        )
        and t.conversions >= 20
    order by t.cost_micros_per_conversion, t.campaign_id
    limit 10
) t
left join lateral (
    select c.campaign_name from campaigns c where c.campaign_id = t.campaign_id offset 0
) c on true
left join lateral (
    select
        l.users, null::bigint as carriers, l.conversions as life_conversions,
        l.conversions as y, l.cost_micros as x, l.imported_cost_micros as x_known,
        l.conversions_conversions::text as yy, l.conversions_cost::text as xy, l.cost_cost::text as xx,
        null::text as yyy
    from campaign_totals l
    where l.campaign_id = t.campaign_id
    offset 0
) l on true
order by t.cost_micros_per_conversion, t.campaign_id;

-- name: list_top_of_last_30_days_by_conversion_rate :many
-- The ten campaigns of the highest conversion rate.
select
    t.campaign_id, c.campaign_name, t.currency_code, t.impressions, t.views, t.clicks, t.conversions,
    t.revenue_micros, t.cost_micros,
    l.users, l.carriers, l.life_conversions, l.y, l.x, l.x_known, l.yy, l.xy, l.xx, l.yyy
from (
    select t.*
    from campaign_last_30_days t
    where (select w.end_day from rolling_window w) = $1::date
        and ($2::text = '' or t.currency_code = $2)
        and t.views >= 100
    order by t.conversion_rate desc, t.campaign_id
    limit 10
) t
left join lateral (
    select c.campaign_name from campaigns c where c.campaign_id = t.campaign_id offset 0
) c on true
left join lateral (
    select
        l.users, null::bigint as carriers, l.conversions as life_conversions,
        l.conversions as y, l.views as x, 0::bigint as x_known,
        l.conversions_conversions::text as yy, l.views_conversions::text as xy, l.views_views::text as xx,
        null::text as yyy
    from campaign_totals l
    where l.campaign_id = t.campaign_id
    offset 0
) l on true
order by t.conversion_rate desc, t.campaign_id;

-- name: list_top_of_last_30_days_by_ctr :many
-- The ten campaigns of the highest CTR.
select
    t.campaign_id, c.campaign_name, t.currency_code, t.impressions, t.views, t.clicks, t.conversions,
    t.revenue_micros, t.cost_micros,
    l.users, l.carriers, l.life_conversions, l.y, l.x, l.x_known, l.yy, l.xy, l.xx, l.yyy
from (
    select t.*
    from campaign_last_30_days t
    where (select w.end_day from rolling_window w) = $1::date
        and ($2::text = '' or t.currency_code = $2)
        and t.impressions >= 100
    order by t.ctr desc, t.campaign_id
    limit 10
) t
left join lateral (
    select c.campaign_name from campaigns c where c.campaign_id = t.campaign_id offset 0
) c on true
left join lateral (
    select
        l.users, null::bigint as carriers, l.conversions as life_conversions,
        l.clicks as y, l.impressions as x, 0::bigint as x_known,
        l.clicks_clicks::text as yy, l.impressions_clicks::text as xy, l.impressions_impressions::text as xx,
        null::text as yyy
    from campaign_totals l
    where l.campaign_id = t.campaign_id
    offset 0
) l on true
order by t.ctr desc, t.campaign_id;

-- name: list_top_of_last_30_days_by_view_rate :many
-- The ten campaigns of the highest view rate; it is undefined where a source reports no views.
select
    t.campaign_id, c.campaign_name, t.currency_code, t.impressions, t.views, t.clicks, t.conversions,
    t.revenue_micros, t.cost_micros,
    l.users, l.carriers, l.life_conversions, l.y, l.x, l.x_known, l.yy, l.xy, l.xx, l.yyy
from (
    select t.*
    from campaign_last_30_days t
    where (select w.end_day from rolling_window w) = $1::date
        and ($2::text = '' or t.currency_code = $2)
        and t.impressions >= 100
        and (t.views > 0 or (t.clicks = 0 and t.conversions = 0))
    order by t.view_rate desc, t.campaign_id
    limit 10
) t
left join lateral (
    select c.campaign_name from campaigns c where c.campaign_id = t.campaign_id offset 0
) c on true
left join lateral (
    select
        l.users, null::bigint as carriers, l.conversions as life_conversions,
        l.views as y, l.impressions as x, 0::bigint as x_known,
        l.views_views::text as yy, l.impressions_views::text as xy, l.impressions_impressions::text as xx,
        null::text as yyy
    from campaign_totals l
    where l.campaign_id = t.campaign_id
    offset 0
) l on true
order by t.view_rate desc, t.campaign_id;

-- name: list_top_of_last_30_days_by_revenue :many
-- The ten campaigns of the highest revenue.
select
    t.campaign_id, c.campaign_name, t.currency_code, t.impressions, t.views, t.clicks, t.conversions,
    t.revenue_micros, t.cost_micros,
    (select array_agg(distinct p.currency_code) from portfolio_last_30_days p where p.campaigns > 0)
        as currencies
from (
    select t.*
    from campaign_last_30_days t
    where (select w.end_day from rolling_window w) = $1::date
        and t.currency_code = coalesce(
            nullif($2::text, ''),
            (select min(p.currency_code) from portfolio_last_30_days p where p.campaigns > 0)
        )
    order by t.revenue_micros desc, t.campaign_id
    limit 10
) t
left join lateral (
    select c.campaign_name from campaigns c where c.campaign_id = t.campaign_id offset 0
) c on true
order by t.revenue_micros desc, t.campaign_id;

-- name: list_top_of_last_30_days_by_profit :many
-- The ten campaigns of the highest profit.
select
    t.campaign_id, c.campaign_name, t.currency_code, t.impressions, t.views, t.clicks, t.conversions,
    t.revenue_micros, t.cost_micros,
    (select array_agg(distinct p.currency_code) from portfolio_last_30_days p where p.campaigns > 0)
        as currencies
from (
    select t.*
    from campaign_last_30_days t
    where (select w.end_day from rolling_window w) = $1::date
        and t.currency_code = coalesce(
            nullif($2::text, ''),
            (select min(p.currency_code) from portfolio_last_30_days p where p.campaigns > 0)
        )
    order by t.profit_micros desc, t.campaign_id
    limit 10
) t
left join lateral (
    select c.campaign_name from campaigns c where c.campaign_id = t.campaign_id offset 0
) c on true
order by t.profit_micros desc, t.campaign_id;

-- name: list_top_of_last_30_days_by_cost :many
-- The ten campaigns of the highest cost.
select
    t.campaign_id, c.campaign_name, t.currency_code, t.impressions, t.views, t.clicks, t.conversions,
    t.revenue_micros, t.cost_micros,
    (select array_agg(distinct p.currency_code) from portfolio_last_30_days p where p.campaigns > 0)
        as currencies
from (
    select t.*
    from campaign_last_30_days t
    where (select w.end_day from rolling_window w) = $1::date
        and t.currency_code = coalesce(
            nullif($2::text, ''),
            (select min(p.currency_code) from portfolio_last_30_days p where p.campaigns > 0)
        )
    order by t.cost_micros desc, t.campaign_id
    limit 10
) t
left join lateral (
    select c.campaign_name from campaigns c where c.campaign_id = t.campaign_id offset 0
) c on true
order by t.cost_micros desc, t.campaign_id;

-- name: list_top_of_last_30_days_by_impressions :many
-- The ten campaigns of the most impressions.
select
    t.campaign_id, c.campaign_name, t.currency_code, t.impressions, t.views, t.clicks, t.conversions,
    t.revenue_micros, t.cost_micros
from (
    select t.*
    from campaign_last_30_days t
    where (select w.end_day from rolling_window w) = $1::date
        and ($2::text = '' or t.currency_code = $2)
    order by t.impressions desc, t.campaign_id
    limit 10
) t
left join lateral (
    select c.campaign_name from campaigns c where c.campaign_id = t.campaign_id offset 0
) c on true
order by t.impressions desc, t.campaign_id;

-- name: list_top_of_last_30_days_by_views :many
-- The ten campaigns of the most views.
select
    t.campaign_id, c.campaign_name, t.currency_code, t.impressions, t.views, t.clicks, t.conversions,
    t.revenue_micros, t.cost_micros
from (
    select t.*
    from campaign_last_30_days t
    where (select w.end_day from rolling_window w) = $1::date
        and ($2::text = '' or t.currency_code = $2)
    order by t.views desc, t.campaign_id
    limit 10
) t
left join lateral (
    select c.campaign_name from campaigns c where c.campaign_id = t.campaign_id offset 0
) c on true
order by t.views desc, t.campaign_id;

-- name: list_top_of_last_30_days_by_clicks :many
-- The ten campaigns of the most clicks.
select
    t.campaign_id, c.campaign_name, t.currency_code, t.impressions, t.views, t.clicks, t.conversions,
    t.revenue_micros, t.cost_micros
from (
    select t.*
    from campaign_last_30_days t
    where (select w.end_day from rolling_window w) = $1::date
        and ($2::text = '' or t.currency_code = $2)
    order by t.clicks desc, t.campaign_id
    limit 10
) t
left join lateral (
    select c.campaign_name from campaigns c where c.campaign_id = t.campaign_id offset 0
) c on true
order by t.clicks desc, t.campaign_id;

-- name: list_top_of_last_30_days_by_conversions :many
-- The ten campaigns of the most conversions.
select
    t.campaign_id, c.campaign_name, t.currency_code, t.impressions, t.views, t.clicks, t.conversions,
    t.revenue_micros, t.cost_micros
from (
    select t.*
    from campaign_last_30_days t
    where (select w.end_day from rolling_window w) = $1::date
        and ($2::text = '' or t.currency_code = $2)
    order by t.conversions desc, t.campaign_id
    limit 10
) t
left join lateral (
    select c.campaign_name from campaigns c where c.campaign_id = t.campaign_id offset 0
) c on true
order by t.conversions desc, t.campaign_id;
