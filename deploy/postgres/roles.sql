-- Roles, schemas and search paths of the Campaign Optimization System.
--
-- Run by the migrator (the role of DATABASE_URL) in the system's database before the migrations, as often
-- as one likes. No password is set here. What exists already is left alone, so an administrator may create
-- the roles beforehand and give the migrator no right to create any.
--
-- Each service has a login role that may change rows of its own schema only; what it reads of a neighbour
-- are the neighbour's published views, through the neighbour's reader role. Table grants belong to each
-- service's own migrations.

do $roles$
declare
    role_name text;
begin
    foreach role_name in array array['analytics', 'abtest', 'optimizer', 'reporting'] loop
        if not exists (select from pg_roles where rolname = role_name) then
            execute format('create role %I login', role_name);
        end if;
    end loop;
    foreach role_name in array array['analytics_reader', 'abtest_reader', 'optimizer_reader'] loop
        if not exists (select from pg_roles where rolname = role_name) then
            execute format('create role %I nologin', role_name);
        end if;
    end loop;
end
$roles$;

create schema if not exists analytics;
create schema if not exists abtest;
create schema if not exists optimizer;
create schema if not exists analytics_v1;
create schema if not exists abtest_v1;
create schema if not exists optimizer_v1;
-- Which migrations ran, one table per service; on nobody's path.
create schema if not exists migrations;

comment on schema analytics is 'tables of the analytics service; only it writes here';
comment on schema abtest is 'tables of the abtest service; only it writes here';
comment on schema optimizer is 'tables of the optimizer service; only it writes here';
comment on schema analytics_v1 is 'views the analytics service publishes to its neighbours, version 1';
comment on schema abtest_v1 is 'views the abtest service publishes to its neighbours, version 1';
comment on schema optimizer_v1 is 'views the optimizer service publishes to its neighbours, version 1';

grant usage on schema analytics to analytics, reporting;
grant usage on schema abtest to abtest, reporting;
grant usage on schema optimizer to optimizer, reporting;
grant usage on schema analytics_v1 to analytics, analytics_reader, reporting;
grant usage on schema abtest_v1 to abtest, abtest_reader, reporting;
grant usage on schema optimizer_v1 to optimizer, optimizer_reader, reporting;

do $memberships$
declare
    membership record;
begin
    for membership in
        select * from (values
            ('analytics_reader', 'abtest'), ('analytics_reader', 'optimizer'),
            ('abtest_reader', 'analytics'), ('abtest_reader', 'optimizer'),
            ('optimizer_reader', 'analytics'), ('optimizer_reader', 'abtest')
        ) as wanted (reader, member)
    loop
        if not pg_has_role(membership.member, membership.reader, 'usage') then
            execute format('grant %I to %I', membership.reader, membership.member);
        end if;
    end loop;
end
$memberships$;

-- A service sees its own tables by plain names; people (the reporting role, and by the database's default
-- the administrator) see everybody's, so that a plain \dt lists them.
do $search_paths$
declare
    wanted record;
    people_path constant text := 'analytics, abtest, optimizer, public';
begin
    for wanted in
        select * from (values
            ('analytics', 'analytics'), ('abtest', 'abtest'), ('optimizer', 'optimizer'),
            ('reporting', people_path)
        ) as paths (role_name, path)
    loop
        if not exists (
            select from pg_db_role_setting s join pg_roles r on r.oid = s.setrole
            where s.setdatabase = 0 and r.rolname = wanted.role_name
              and 'search_path=' || wanted.path = any (s.setconfig)
        ) then
            execute format('alter role %I set search_path = %s', wanted.role_name, wanted.path);
        end if;
    end loop;
    if not exists (
        select from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase
        where s.setrole = 0 and d.datname = current_database()
          and 'search_path=' || people_path = any (s.setconfig)
    ) then
        execute format('alter database %I set search_path = %s', current_database(), people_path);
    end if;
end
$search_paths$;
