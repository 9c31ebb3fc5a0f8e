-- migrate:up

-- The last day whose raw events are dropped or being dropped; none while everything is kept. It never goes
-- back, so that an event that was dropped is not taken a second time.
alter table analytics.reporting_settings add column sealed_through date;

create or replace view analytics_v1.reporting_settings as
select reporting_time_zone, sealed_through
from analytics.reporting_settings;

-- migrate:down

drop view analytics_v1.reporting_settings;

create view analytics_v1.reporting_settings as
select reporting_time_zone
from analytics.reporting_settings;

grant select on analytics_v1.reporting_settings to analytics, analytics_reader, reporting;

alter table analytics.reporting_settings drop column sealed_through;
