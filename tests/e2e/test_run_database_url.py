"""`make run` with DATABASE_URL: somebody else's PostgreSQL, and a migrator who is no superuser."""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from deploy.local.bootstrap import role_address, wait_until_connectable
from deploy.local.postgres import Cluster, running_throwaway_cluster
from tests.e2e.local_run import LocalRun

PASSWORD = secrets.token_urlsafe(12)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("elsewhere") / "data"
    with running_throwaway_cluster(folder, port=free_port()) as cluster:
        asyncio.run(wait_until_connectable(cluster.url()))
        yield cluster


def execute(url: str, *statements: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(run())


@pytest.fixture(scope="module")
def migrator_url(cluster: Cluster) -> str:
    execute(
        cluster.url(),
        f"create role migrator login createrole password '{PASSWORD}'",
        "create database elsewhere owner migrator",
    )
    return role_address(cluster.url(database="elsewhere"), "migrator", PASSWORD)


def test_a_migrator_prepares_the_database_and_the_run_starts_none(tmp_path: Path, migrator_url: str) -> None:
    with LocalRun(tmp_path, DATABASE_URL=migrator_url) as run:
        run.until_ready()
        assert run.health() == 200
        assert run.get("/api/catalog/campaigns")[0] == 200
        commands = run.children().values()
        assert not any("postgres -D" in command for command in commands)
        assert not any(PASSWORD in command for command in commands)
        run.stop()
    assert not (tmp_path / "postgres").exists()
    assert "gave new passwords to the roles analytics, abtest, optimizer, reporting" in run.output
    assert PASSWORD not in run.output
    with LocalRun(tmp_path, DATABASE_URL=migrator_url) as again:
        again.until_ready()
        assert "gave new passwords" not in again.output


def test_an_unknown_address_is_one_clear_line(tmp_path: Path, cluster: Cluster, migrator_url: str) -> None:
    with LocalRun(tmp_path, DATABASE_URL=migrator_url.replace("/elsewhere", "/nowhere")) as run:
        assert run.wait() == 1
    failed = [line for line in run.lines if "failed:" in line]
    assert len(failed) == 1
    assert f"127.0.0.1:{cluster.port}/nowhere" in failed[0]
    assert PASSWORD not in run.output


def test_a_migrator_without_rights_is_told_what_to_do(
    tmp_path: Path, cluster: Cluster, migrator_url: str
) -> None:
    execute(
        cluster.url(),
        f"create role powerless login password '{PASSWORD}'",
        "create database plain owner powerless",
    )
    url = role_address(cluster.url(database="plain"), "powerless", PASSWORD)
    with LocalRun(tmp_path, DATABASE_URL=url) as run:
        assert run.wait() == 1
    assert "roles.sql" in run.output or "ANALYTICS_DATABASE_URL" in run.output
