-- migrate:up

-- A set of segments by its number, so that a neighbour can keep the number with what it keeps of a user. Sets are
-- only ever added.
create or replace view analytics_v1.users as
select
    u.user_id, u.sign_up_at, u.time_zone, coalesce(s.segments, '{}'::text[]) as segments, u.segment_set_id
from analytics.users u
left join analytics.segment_sets s using (segment_set_id);

create view analytics_v1.segment_sets as
select segment_set_id, segments
from analytics.segment_sets;

grant select on analytics_v1.segment_sets to analytics, analytics_reader, reporting;

-- migrate:down
drop view analytics_v1.segment_sets;
drop view analytics_v1.users;

create view analytics_v1.users as
select u.user_id, u.sign_up_at, u.time_zone, coalesce(s.segments, '{}'::text[]) as segments
from analytics.users u
left join analytics.segment_sets s using (segment_set_id);

grant select on analytics_v1.users to analytics, analytics_reader, reporting;
