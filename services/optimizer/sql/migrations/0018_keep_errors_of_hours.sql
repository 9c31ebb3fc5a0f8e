-- migrate:up

-- Standard errors of the logits of what hours and weekdays are worth, and of rates by hour, by which their intervals are
-- known; null where they were not kept.
alter table optimizer.user_optimal_send_times
    add column hour_value_deviations real[],
    add column hour_view_deviations real[],
    add column hour_conversion_deviations real[],
    add column day_value_deviations real[];

-- migrate:down
alter table optimizer.user_optimal_send_times
    drop column day_value_deviations,
    drop column hour_conversion_deviations,
    drop column hour_view_deviations,
    drop column hour_value_deviations;
