-- migrate:up

-- For list_expired_optimizations: open and accepted recommendations whose time has passed.
drop index optimizer.campaign_optimizations_expiry_idx;
create index campaign_optimizations_expiry_idx on optimizer.campaign_optimizations (expires_at)
    where status in ('open', 'accepted');

-- migrate:down
drop index optimizer.campaign_optimizations_expiry_idx;
create index campaign_optimizations_expiry_idx on optimizer.campaign_optimizations (expires_at)
    where status = 'open';
