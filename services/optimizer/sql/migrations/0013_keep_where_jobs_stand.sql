-- migrate:up

-- Kept merchants hold all events of the user that came in before received_until (the database's clock); null: nobody
-- knows.
alter table optimizer.user_merchant_affinity
    add column received_until timestamptz;

-- A scoring of users under way, by ascending user_id: since when, and up to whom it has come. It scores everybody where
-- refreshed_until is null, and the users of whom something came in otherwise. At its end refreshed_until becomes
-- pass_started_at.
alter table optimizer.affinity_models
    add column pass_started_at timestamptz,
    add column pass_user_id text not null default '';

-- When to try again a user whose events could not be counted in time; null: not tried yet.
alter table optimizer.send_time_queue
    add column retry_at timestamptz;

-- For list_users_to_retry.
create index send_time_queue_retry_idx on optimizer.send_time_queue (retry_at) where retry_at is not null;

-- migrate:down
drop index optimizer.send_time_queue_retry_idx;
alter table optimizer.send_time_queue
    drop column retry_at;
alter table optimizer.affinity_models
    drop column pass_user_id,
    drop column pass_started_at;
alter table optimizer.user_merchant_affinity
    drop column received_until;
