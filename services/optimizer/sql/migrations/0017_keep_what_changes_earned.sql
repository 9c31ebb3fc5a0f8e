-- migrate:up

-- What was earned after and before a change (worth), the same beside the previous offer on the same days
-- (concurrent_worth), and what was promised (promise): documents that only this service reads. Null where that cannot be
-- said, and for outcomes that were final before it was kept: what a recommendation's money was counted with was not.
alter table optimizer.offer_optimization_history
    add column worth jsonb,
    add column concurrent_worth jsonb,
    add column promise jsonb;

-- migrate:down
alter table optimizer.offer_optimization_history
    drop column promise,
    drop column concurrent_worth,
    drop column worth;
