-- Transactions that wrote, counted by each as the last it does, in a slot taken at random so that few wait for one
-- another; added up, the version of the data.
create table analytics.data_versions (
    slot smallint not null,
    version bigint not null,
    constraint data_versions_pkey primary key (slot)
) with (fillfactor = 10);

grant select, insert, update on analytics.data_versions to analytics;
grant select on analytics.data_versions to reporting;
