"""PostgreSQL for tests: one throwaway cluster per session, one database per test from a migrated template."""

import asyncio
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import hypothesis
import pytest

from deploy.local import bootstrap
from deploy.local.bootstrap import DatabaseAddresses
from deploy.local.postgres import Cluster, running_throwaway_cluster
from tests.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[1]
TEMPLATE = "merchants_db_template"
# A file system in memory, and the room that several workers' clusters may come to take of it.
MEMORY = Path("/dev/shm")  # noqa: S108 - folders made in it are closed to others
MEMORY_BYTES = 6 << 30
MEMORY_PREFIX = "test-postgres-"
LEFT_BEHIND_SECONDS = 86_400
NEAR_MIDNIGHT = timedelta(minutes=3)
"""More than a test takes that asks which day it is and has a process ask again."""

# Files of the whole run's longest tests, longest first: begun late, one of them alone would hold up its end.
LONGEST = (
    "e2e/test_run.py",
    "e2e/test_complete_journey.py",
    "e2e/test_run_demo.py",
    "e2e/test_run_commands.py",
    "e2e/test_run_database_url.py",
)

# Read when numpy is first imported, after this file, and by every process that tests start: workers share the
# cores as it is, and threads that wait for one another over small matrices cost four times the work itself.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The same examples at every run, which may take as long as the machine lets them, so that nothing
# fails by chance; `pytest --hypothesis-profile exploring` draws others, and more.
hypothesis.settings.register_profile("exploring", deadline=None, max_examples=2000)
hypothesis.settings.register_profile(
    "steady",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("steady")

T = TypeVar("T")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; workers take files in this order (--no-loadscope-reorder)."""
    ranks = {Path(__file__).parent / name: rank for rank, name in enumerate(LONGEST)}
    if missing := [str(path) for path in ranks if not path.is_file()]:
        raise pytest.UsageError(f"named among the longest, but not there: {', '.join(missing)}")
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


def run_in_own_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` to its end in a thread of its own, so that a test's event loop is left alone."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(asyncio.run, coroutine).result()


@pytest.fixture(scope="session", name="free_port")
def given_free_port() -> Callable[[], int]:
    """Return a function that gives a loopback port that is nobody else's; see tests/ports.py."""
    return free_port


@pytest.fixture
def one_day() -> None:
    """Keep midnight (UTC) out of a test whose clocks must agree on the day: where it is near, let it pass."""
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    if midnight - now < NEAR_MIDNIGHT:
        while datetime.now(UTC) < midnight:
            time.sleep(1)


@pytest.fixture(scope="session")
def cluster_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for clusters, in memory where there is room: a database is a thousand files, made per test."""
    if _free_memory() < MEMORY_BYTES:
        yield tmp_path_factory.mktemp("postgres")
        return
    _remove_left_behind()
    name = f"{MEMORY_PREFIX}{secrets.token_hex(6)}"
    with (MEMORY / f"{name}.lock").open("w") as lock:  # held before there is a folder, until there is none
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = MEMORY / name
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            Path(lock.name).unlink(missing_ok=True)


def _remove_left_behind() -> None:
    """Remove folders of workers that were killed: old, and locked by nobody; another may be at it too."""
    for left in MEMORY.glob(f"{MEMORY_PREFIX}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime < LEFT_BEHIND_SECONDS:
                continue
            with left.with_suffix(".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left.with_suffix(""), ignore_errors=True)
                Path(lock.name).unlink(missing_ok=True)


@pytest.fixture(scope="session")
def postgres_server(cluster_folder: Path, free_port: Callable[[], int]) -> Iterator[Cluster]:
    """A running PostgreSQL cluster without durability; `.url(database=...)` is its administrator's."""
    with running_throwaway_cluster(cluster_folder / "data", port=free_port()) as cluster:
        run_in_own_loop(bootstrap.wait_until_connectable(cluster.url()))
        yield cluster


@pytest.fixture(scope="session")
def template_database(postgres_server: Cluster) -> DatabaseAddresses:
    """A database with roles, schemas and all migrations, to create others from; do not connect to it."""
    url = postgres_server.url(database=TEMPLATE)
    passwords = {role: secrets.token_urlsafe(12) for role in bootstrap.LOGIN_ROLES}

    async def prepare() -> None:
        await bootstrap.create_database(postgres_server.url(), name=TEMPLATE)
        await bootstrap.create_roles(url)
        await bootstrap.ensure_passwords(url, passwords, new=passwords)

    run_in_own_loop(prepare())
    services = REPOSITORY / "services"
    migrated = [
        name for name in bootstrap.MIGRATED_SERVICES if (services / name / "sql" / "migrations").is_dir()
    ]
    bootstrap.migrate_services(url, migrated)
    return bootstrap.addresses(url, passwords)


@pytest.fixture
def database(postgres_server: Cluster, template_database: DatabaseAddresses) -> Iterator[DatabaseAddresses]:
    """A fresh, migrated, empty database of the test's own, as each role reaches it; dropped afterwards."""
    with _fresh_database(postgres_server, template_database) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def module_database(
    postgres_server: Cluster, template_database: DatabaseAddresses
) -> Iterator[DatabaseAddresses]:
    """A database as `database`, shared by the tests of a module: for those that leave it as it is."""
    with _fresh_database(postgres_server, template_database) as fresh:
        yield fresh


def _free_memory() -> int:
    """Return how many bytes `MEMORY` can still take; 0 where there is no such file system."""
    if not MEMORY.is_dir():
        return 0
    figures = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(figures["MemAvailable"].removesuffix("kB")) << 10
    return min(available, shutil.disk_usage(MEMORY).free)


@contextmanager
def _fresh_database(server: Cluster, template: DatabaseAddresses) -> Iterator[DatabaseAddresses]:
    name = f"test_{secrets.token_hex(6)}"
    run_in_own_loop(_create_from_template(server.url(), name))
    yield DatabaseAddresses(
        **{role: address.replace(f"/{TEMPLATE}", f"/{name}") for role, address in vars(template).items()}
    )
    run_in_own_loop(_drop(server.url(), name))


async def _create_from_template(url: str, name: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        # Copying files costs a checkpoint, but no log of every page; little where nothing waits for a disk.
        await connection.execute(f'create database "{name}" template "{TEMPLATE}" strategy file_copy')
        # A template's own settings, such as its search path, are not copied along with it.
        settings = await connection.fetch(
            "select split_part(setting, '=', 1) as name, substr(setting, strpos(setting, '=') + 1) as value"
            " from pg_db_role_setting join pg_database on pg_database.oid = setdatabase,"
            " unnest(setconfig) as setting where datname = $1 and setrole = 0",
            TEMPLATE,
        )
        for setting in settings:
            await connection.execute(f'alter database "{name}" set {setting["name"]} = {setting["value"]}')
    finally:
        await connection.close()


async def _drop(url: str, name: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f'drop database "{name}" with (force)')
    finally:
        await connection.close()
