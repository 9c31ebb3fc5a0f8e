import os
import stat

import asyncpg
import pytest

from deploy.local import bootstrap
from deploy.local.bootstrap import DatabaseAddresses
from deploy.local.postgres import Cluster


async def fetch_value(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("role", "path"),
    [
        ("admin", "analytics, abtest, optimizer, public"),
        ("reporting", "analytics, abtest, optimizer, public"),
        ("analytics", "analytics"),
        ("abtest", "abtest"),
        ("optimizer", "optimizer"),
    ],
)
async def test_each_role_logs_in_and_has_its_search_path(
    database: DatabaseAddresses, role: str, path: str
) -> None:
    assert await fetch_value(getattr(database, role), "show search_path") == path


async def test_a_service_role_uses_no_neighbours_schema(database: DatabaseAddresses) -> None:
    query = "select has_schema_privilege('abtest', 'analytics', 'usage')"
    assert await fetch_value(database.admin, query) is False


async def test_a_service_role_uses_a_neighbours_published_schema(database: DatabaseAddresses) -> None:
    query = (
        "select bool_and(has_schema_privilege(role, 'analytics_v1', 'usage'))"
        " from unnest(array['abtest', 'optimizer']) role"
    )
    assert await fetch_value(database.admin, query) is True


async def test_roles_sql_runs_twice_without_change(database: DatabaseAddresses) -> None:
    settings = "select array_agg(setconfig::text order by setrole) from pg_db_role_setting"
    before = await fetch_value(database.admin, settings)
    await bootstrap.create_roles(database.admin)
    assert await fetch_value(database.admin, settings) == before


async def test_a_wrong_password_is_refused(database: DatabaseAddresses) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(bootstrap.role_address(database.admin, "analytics", "wrong"))


async def test_a_kept_password_is_left_alone_and_another_is_set(
    postgres_server: Cluster, database: DatabaseAddresses
) -> None:
    connection = await asyncpg.connect(database.admin)
    await connection.execute("create role someone login")
    await connection.close()
    assert await bootstrap.ensure_passwords(database.admin, {"someone": "first"}) == ["someone"]
    assert await bootstrap.ensure_passwords(database.admin, {"someone": "first"}) == []
    assert await bootstrap.ensure_passwords(database.admin, {"someone": "second"}) == ["someone"]
    assert await fetch_value(
        bootstrap.role_address(database.admin, "someone", "second"), "select current_user"
    )


def test_the_cluster_listens_on_loopback_without_a_socket_file(postgres_server: Cluster) -> None:
    lines = (postgres_server.folder / "postmaster.pid").read_text().splitlines()
    assert lines[3] == str(postgres_server.port)
    assert lines[4] == ""  # no Unix socket
    assert lines[5] == "127.0.0.1"


def test_the_clusters_folder_is_closed_to_others(postgres_server: Cluster) -> None:
    assert stat.S_IMODE(os.stat(postgres_server.folder).st_mode) == 0o700
    rules = [line for line in (postgres_server.folder / "pg_hba.conf").read_text().splitlines() if line]
    methods = {line.split()[-1] for line in rules if not line.startswith("#")}
    assert methods == {"scram-sha-256"}
