-- What neighbours may read, version 1: columns may be added at the end, nothing else may change.

create view optimizer_v1.live_models as
select model_name, version, trained_at, first_day, split_day, end_day, r2_score, mae
from optimizer.ml_models
where status = 'live';

create view optimizer_v1.campaign_optimizations as
select
    optimization_id, campaign_id, optimization_type, status, recommendation, expected_improvement, confidence,
    model_name, model_version, created_at, expires_at, decided_at, choice, applied_at
from optimizer.campaign_optimizations;

create view optimizer_v1.offer_outcomes as
select
    history_id, campaign_id, source, source_id, optimization_type, choice, previous_offer_micros, offer_micros,
    predicted_conversion_rate, observed_views, observed_conversions, relative_lift, relative_lift_lower,
    relative_lift_upper, applied_at, measured_at, is_final
from optimizer.offer_optimization_history;

grant select on optimizer_v1.live_models, optimizer_v1.campaign_optimizations, optimizer_v1.offer_outcomes
    to optimizer, optimizer_reader, reporting;
