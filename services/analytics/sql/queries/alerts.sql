-- Rules that watch metrics, their alerts, and what the rules look at.

-- name: insert_alert_rule :one
-- Keep a rule; no row where the request $2 has made one before.
insert into alert_rules (
    rule_id, request_id, campaign_id, currency_code, metric, kind, threshold, days, minimum_volume,
    requires_significance, created_at
)
values (
    $1::text, $2::text, $3::text, $4::text, $5::text, $6::smallint, $7::double precision, $8::integer,
    $9::bigint, $10::boolean, $11::timestamptz
)
on conflict (request_id) do nothing
returning rule_id;

-- name: fetch_alert_rule_of_request :one
-- The rule that the request $1 made.
select
    rule_id, campaign_id, currency_code, metric, kind, threshold, days, minimum_volume, requires_significance,
    created_at
from alert_rules
where request_id = $1::text;

-- name: count_alert_rules :one
-- How many rules are live.
select count(*) as rules
from alert_rules
where deleted_at is null;

-- name: list_alert_rules :many
-- Live rules after the one made at $2 with the id $3 (null: from the newest), of the campaign $1 (null: all).
select
    rule_id, campaign_id, currency_code, metric, kind, threshold, days, minimum_volume, requires_significance,
    created_at
from alert_rules
where
    deleted_at is null
    and ($1::text is null or campaign_id = $1::text)
    and ($2::timestamptz is null or created_at < $2::timestamptz or (created_at = $2 and rule_id > $3::text))
order by created_at desc, rule_id
limit $4::integer;

-- name: delete_alert_rule :one
-- Forget the rule $1 at $2; no row for an unknown one.
update alert_rules
set deleted_at = $2::timestamptz
where rule_id = $1::text and deleted_at is null
returning rule_id;

-- name: list_live_alert_rules :many
-- Every live rule, and its open alert if it has one.
select
    r.rule_id, r.campaign_id, r.currency_code, r.metric, r.kind, r.threshold, r.days, r.minimum_volume,
    r.requires_significance, r.created_at, a.alert_id as open_alert_id
from alert_rules r
left join alerts a on a.rule_id = r.rule_id and a.closed_at is null
where r.deleted_at is null
order by r.rule_id;

-- name: open_alert :one
-- Open an alert of the rule $2; no row where the rule was forgotten meanwhile, or has an open one.
insert into alerts (
    alert_id, rule_id, opened_at, value, value_lower, value_upper, baseline_value, message
)
select
    $1::text, r.rule_id, $3::timestamptz, $4::double precision, $5::double precision, $6::double precision,
    $7::double precision, $8::text
from alert_rules r
where r.rule_id = $2::text and r.deleted_at is null
for share
on conflict (rule_id) where closed_at is null do nothing
returning alert_id;

-- name: close_alerts_of_rule :one
-- Close the open alert of the rule $1 at $2, if there is one.
update alerts
set closed_at = greatest(opened_at, $2::timestamptz)
where rule_id = $1::text and closed_at is null
returning alert_id;

-- name: list_alerts :many
-- Alerts after the one opened at $3 with the id $4 (null: from the newest), of the campaign $1 (null: all), only
-- open ones where $2.
select
    a.alert_id, a.opened_at, a.closed_at, a.value, a.value_lower, a.value_upper, a.baseline_value, a.message,
    r.rule_id, r.campaign_id, r.currency_code, r.metric, r.kind, r.threshold, r.days, r.minimum_volume,
    r.requires_significance, r.created_at
from alerts a
join alert_rules r on r.rule_id = a.rule_id
where
    ($1::text is null or r.campaign_id = $1::text)
    and (not $2::boolean or a.closed_at is null)
    and ($3::timestamptz is null or a.opened_at < $3::timestamptz or (a.opened_at = $3 and a.alert_id > $4::text))
order by a.opened_at desc, a.alert_id
limit $5::integer;

-- name: list_recent_alerts :many
-- Open alerts, and those closed since $1, oldest first.
select
    a.alert_id, a.opened_at, a.closed_at, a.value, a.value_lower, a.value_upper, a.baseline_value, a.message,
    r.rule_id, r.campaign_id, r.currency_code, r.metric, r.kind, r.threshold, r.days, r.minimum_volume,
    r.requires_significance, r.created_at
from (
    select * from alerts where closed_at is null
    union all
    select * from alerts where closed_at >= $1::timestamptz
) a
join alert_rules r on r.rule_id = a.rule_id
order by a.opened_at, a.alert_id;

-- name: fetch_alert_campaign_days :one
-- What the campaign $1 did on the days from $2 to $3, both included.
select
    d.impressions, d.views, d.clicks, d.conversions, d.revenue_micros, d.cost_micros,
    n.notification_deliveries, n.notification_opens, n.unsubscribes
from (
    select
        coalesce(sum(impressions), 0)::bigint as impressions,
        coalesce(sum(views), 0)::bigint as views,
        coalesce(sum(clicks), 0)::bigint as clicks,
        coalesce(sum(conversions), 0)::bigint as conversions,
        coalesce(sum(revenue_micros), 0)::bigint as revenue_micros,
        coalesce(sum(cost_micros), 0)::bigint as cost_micros
    from campaign_analytics_daily
    where campaign_id = $1::text and day between $2::date and $3::date
) d
cross join (
    select
        coalesce(sum(notification_deliveries), 0)::bigint as notification_deliveries,
        coalesce(sum(notification_opens), 0)::bigint as notification_opens,
        coalesce(sum(unsubscribes), 0)::bigint as unsubscribes
    from campaign_delivery_daily
    where campaign_id = $1::text and day between $2::date and $3::date
) n;

-- name: fetch_alert_campaign_hours :one
-- What the campaign $1 did in the hours from $2 up to $3, excluded.
select
    coalesce(sum(impressions), 0)::bigint as impressions,
    coalesce(sum(views), 0)::bigint as views,
    coalesce(sum(clicks), 0)::bigint as clicks,
    coalesce(sum(conversions), 0)::bigint as conversions,
    coalesce(sum(revenue_micros), 0)::bigint as revenue_micros
from campaign_trend_data
where campaign_id = $1::text and hour_at >= $2::timestamptz and hour_at < $3::timestamptz;

-- name: fetch_alert_portfolio_days :one
-- What all campaigns of the currency $1 (null: of all) did on the days from $2 to $3, both included.
select
    coalesce(sum(impressions), 0)::bigint as impressions,
    coalesce(sum(views), 0)::bigint as views,
    coalesce(sum(clicks), 0)::bigint as clicks,
    coalesce(sum(conversions), 0)::bigint as conversions,
    coalesce(sum(revenue_micros), 0)::bigint as revenue_micros,
    coalesce(sum(cost_micros), 0)::bigint as cost_micros,
    coalesce(sum(notification_deliveries), 0)::bigint as notification_deliveries,
    coalesce(sum(notification_opens), 0)::bigint as notification_opens,
    coalesce(sum(unsubscribes), 0)::bigint as unsubscribes
from portfolio_analytics_daily
where day between $2::date and $3::date and ($1::text is null or currency_code = $1::text);

-- name: fetch_alert_portfolio_hours :one
-- What all campaigns of the currency $1 (null: of all) did in the hours from $2 up to $3, excluded.
select
    coalesce(sum(impressions), 0)::bigint as impressions,
    coalesce(sum(views), 0)::bigint as views,
    coalesce(sum(clicks), 0)::bigint as clicks,
    coalesce(sum(conversions), 0)::bigint as conversions,
    coalesce(sum(revenue_micros), 0)::bigint as revenue_micros
from portfolio_analytics_hourly
where hour_at >= $2::timestamptz and hour_at < $3::timestamptz and ($1::text is null or currency_code = $1::text);

-- name: fetch_alert_campaign_life :one
-- The whole life of the campaign $1 with its sums over users; no row before its first event.
select
    users, paying_users, notified_users, imported_cost_micros, impressions, views, clicks, conversions,
    revenue_micros, cost_micros, notification_deliveries, notification_opens, unsubscribes, impressions_impressions,
    impressions_views, impressions_clicks, views_views, views_conversions, clicks_clicks,
    conversions_conversions, impressions_revenue, conversions_cost, revenue_revenue, revenue_cost,
    cost_cost, deliveries_deliveries, deliveries_opens, opens_opens
from campaign_totals
where campaign_id = $1::text;

-- name: fetch_alert_portfolio_life :one
-- The whole life of all campaigns of the currency $1 (null: of all, without money) with their sums over users, each
-- user once, as the job added them up; no row before it did.
select
    users, paying_users, notified_users, imported_cost_micros, impressions, views, clicks, conversions,
    revenue_micros, cost_micros, notification_deliveries, notification_opens, unsubscribes, impressions_impressions,
    impressions_views, impressions_clicks, views_views, views_conversions, clicks_clicks,
    conversions_conversions, impressions_revenue, conversions_cost, revenue_revenue, revenue_cost,
    cost_cost, deliveries_deliveries, deliveries_opens, opens_opens
from portfolio_users
where currency_code = coalesce($1::text, '');

-- name: fetch_alert_campaign :one
-- The campaign $1, if there is one.
select campaign_id
from campaigns
where campaign_id = $1::text;
