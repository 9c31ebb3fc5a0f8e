-- Dropping raw events, day by day, and keeping what they amounted to.

-- name: fetch_sealed_through :one
-- The last day whose raw events are dropped or being dropped; none while everything is kept.
select sealed_through
from reporting_settings;

-- name: raise_seal :exec
-- Seals the days through $1, unless more is sealed. Batches of events must be kept out while it is raised, so that
-- none that judged by the old one is still under way.
update reporting_settings
set sealed_through = $1::date
where sealed_through is null or sealed_through < $1::date;
