-- The version of the data, which kept answers are held against.

-- name: fetch_data_version :one
-- How many writing transactions this snapshot sees. They are only ever added, so two snapshots with one version
-- see the same.
select coalesce(sum(version), 0)::bigint as version
from data_versions;

-- name: mark_write :exec
-- Counts the transaction that runs it, as the last it does: the slot is locked while it commits.
insert into data_versions as v (slot, version)
values (floor(random() * 64)::smallint, 1)
on conflict on constraint data_versions_pkey do update set version = v.version + 1;
