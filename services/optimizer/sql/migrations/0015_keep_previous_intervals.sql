-- migrate:up

-- The 90 % interval of the conversion rate before, over days; null where it cannot be said, or was not kept.
alter table optimizer.offer_optimization_history
    add column previous_lower double precision,
    add column previous_upper double precision;

-- migrate:down
alter table optimizer.offer_optimization_history
    drop column previous_upper,
    drop column previous_lower;
