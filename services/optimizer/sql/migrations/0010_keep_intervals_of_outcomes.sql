-- migrate:up

-- The 90 % interval of the observed conversion rate, over days; null where it cannot be said.
alter table optimizer.offer_optimization_history
    add column observed_lower double precision,
    add column observed_upper double precision;

-- migrate:down
alter table optimizer.offer_optimization_history
    drop column observed_upper,
    drop column observed_lower;
