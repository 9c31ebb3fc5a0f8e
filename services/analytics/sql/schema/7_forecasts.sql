-- Forecasts, made by a job in a process of its own. One row per subject and metric: how it was made, and how the
-- same way did on this history when it stood further back (rolling origin). campaign_id '' is all campaigns of a
-- currency. Scores are in the unit of the metric (money: units of the currency), and null without a backtest.
-- Coverage leaves out days that were sure to be 0 and were; it is null where no other is left.
-- history_conversions are those of the days from history_start_day to last_day, as they were counted then.
create table analytics.forecasts (
    campaign_id text not null,
    currency_code text not null,
    metric text not null,
    made_at timestamptz not null,
    history_start_day date not null,
    last_day date not null,
    history_conversions bigint not null,
    method text not null,
    judged_points bigint not null,
    judged_days bigint not null,
    beats_baseline boolean,
    weighted_interval_score double precision,
    baseline_weighted_interval_score double precision,
    coverage_80 double precision,
    coverage_95 double precision,
    mean_absolute_scaled_error double precision,
    constraint forecasts_pkey primary key (campaign_id, currency_code, metric),
    constraint forecasts_metric_is_known check (metric in ('conversions', 'revenue', 'cost')),
    constraint forecasts_coverage_is_fraction check (
        coverage_80 between 0 and 1 and coverage_95 between 0 and 1
    ),
    constraint forecasts_backtest_is_whole check (
        (judged_points = 0) = (beats_baseline is null)
        and (judged_points = 0) = (weighted_interval_score is null)
        and (judged_points = 0) = (baseline_weighted_interval_score is null)
        and (coverage_80 is null) = (coverage_95 is null)
        and (judged_points > 0 or coverage_80 is null)
    )
);

-- One row per subject, metric and coming day, in millionths of the metric's unit (of a conversion; micros of money):
-- what is expected, and the ends of the 80 % and 95 % prediction intervals.
create table analytics.forecast_points (
    campaign_id text not null,
    currency_code text not null,
    metric text not null,
    day date not null,
    expected_micros bigint not null,
    lower_80_micros bigint not null,
    upper_80_micros bigint not null,
    lower_95_micros bigint not null,
    upper_95_micros bigint not null,
    constraint forecast_points_pkey primary key (campaign_id, currency_code, metric, day),
    constraint forecast_points_forecast_fkey foreign key (campaign_id, currency_code, metric)
        references analytics.forecasts on delete cascade,
    constraint forecast_points_not_negative check (expected_micros >= 0 and lower_95_micros >= 0),
    constraint forecast_points_are_ordered check (
        lower_95_micros <= lower_80_micros and lower_80_micros <= upper_80_micros
        and upper_80_micros <= upper_95_micros
    )
);

grant select, insert, update, delete on analytics.forecasts, analytics.forecast_points to analytics;
grant select on analytics.forecasts, analytics.forecast_points to reporting;
