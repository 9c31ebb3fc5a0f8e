-- Forecasts: the history that they are made from, and what was made of it.

-- name: list_forecast_histories :many
-- Every campaign with a day from $1 to $2, both included: its currency, when it was entered, when it begins
-- and ends by the catalog, and its first such day.
select
    c.campaign_id, c.counted_currency_code as currency_code, c.created_at, c.start_at, c.end_at, d.first_day
from campaigns c
join (
    select campaign_id, min(day) as first_day
    from campaign_analytics_daily
    where day between $1::date and $2::date
    group by campaign_id
) d using (campaign_id)
where c.counted_currency_code is not null
order by c.campaign_id;

-- name: list_planned_campaigns :many
-- Campaigns without an event that begin after $1 by the catalog.
select
    c.campaign_id, coalesce(c.currency_code, m.currency_code) as currency_code, c.created_at, c.start_at, c.end_at
from campaigns c
left join merchants m on m.merchant_id = c.merchant_id
where c.counted_currency_code is null and c.start_at > $1::timestamptz
order by c.campaign_id;

-- name: list_forecast_days :many
-- What campaigns did on the days from $1 to $2, both included.
select campaign_id, day, conversions, revenue_micros, cost_micros
from campaign_analytics_daily
where day between $1::date and $2::date
order by campaign_id, day;

-- name: list_forecast_portfolio_days :many
-- What all campaigns of each currency did on the days from $1 to $2, both included, slots added.
select
    currency_code,
    day,
    sum(conversions)::bigint as conversions,
    sum(revenue_micros)::bigint as revenue_micros,
    sum(cost_micros)::bigint as cost_micros
from portfolio_analytics_daily
where day between $1::date and $2::date
group by currency_code, day
order by currency_code, day;

-- name: list_known_histories :many
-- The portfolio on the days from $1 to $2, both included, per currency: days since its first, and conversions.
select
    currency_code,
    $2::date - min(day) + 1 as days,
    sum(conversions)::bigint as conversions
from portfolio_analytics_daily
where day between $1::date and $2::date
group by currency_code
order by currency_code;

-- name: list_portfolio_forecasts :many
-- What the newest forecasts of the portfolio were made from, per currency.
select currency_code, made_at, history_start_day, last_day, history_conversions
from forecasts
where campaign_id = '' and metric = 'conversions'
order by currency_code;

-- name: list_portfolio_currencies :many
-- The currencies that the portfolio has a day in.
select distinct currency_code
from portfolio_analytics_daily
order by currency_code;

-- name: list_forecasts :many
-- How the forecast of each metric of a campaign ($1; '' is the portfolio of a currency, $2) was made.
select
    metric, made_at, history_start_day, last_day, method, judged_points, judged_days, beats_baseline,
    weighted_interval_score, baseline_weighted_interval_score, coverage_80, coverage_95,
    mean_absolute_scaled_error
from forecasts
where campaign_id = $1::text and currency_code = $2::text
order by metric;

-- name: list_forecast_points :many
-- The first $3 coming days of a campaign's forecasts ($1; '' is the portfolio of a currency, $2), metric by metric.
select
    p.metric, p.day, p.expected_micros, p.lower_80_micros, p.upper_80_micros, p.lower_95_micros, p.upper_95_micros
from forecast_points p
join forecasts f using (campaign_id, currency_code, metric)
where p.campaign_id = $1::text and p.currency_code = $2::text and p.day <= f.last_day + $3::integer
order by p.metric, p.day;

-- name: fetch_portfolio_first_day :one
-- The first day of the portfolio of a currency; none before its first event.
select min(day) as first_day
from portfolio_analytics_daily
where currency_code = $1::text;

-- name: delete_forecasts :exec
-- Takes away the forecasts of campaigns ('' is the portfolios), points included, before they are written anew.
delete from forecasts
where campaign_id = any($1::text[]);
