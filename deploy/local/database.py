"""The database of a run: an embedded cluster or the one of DATABASE_URL, made ready for the services."""

import asyncio
from signal import SIGINT

import asyncpg

from deploy.local import bootstrap
from deploy.local.bootstrap import LOGIN_ROLES, DatabaseAddresses, role_address
from deploy.local.console import Console
from deploy.local.errors import RunError
from deploy.local.passwords import keep_passwords
from deploy.local.postgres import ADMINISTRATOR, Cluster, server_user
from deploy.local.postgres_lines import PostgresLines
from deploy.local.process import Program
from deploy.local.readiness import postgres_connects
from deploy.local.settings import RunSettings
from deploy.local.supervisor import Supervisor

OLDEST_SERVER_VERSION = 150000
_CONNECT_SECONDS = 15.0


async def open_database(settings: RunSettings, supervisor: Supervisor, console: Console) -> DatabaseAddresses:
    """Start or reach PostgreSQL, bring roles and schemas up to date, and return each role's address.

    Raises:
        RunError: PostgreSQL does not start, answer, or let the database be prepared.
    """
    if settings.database_url:
        url = settings.database_url
        await bootstrap.wait_until_connectable(url, timeout_seconds=_CONNECT_SECONDS)
        await _check_version(url)
    else:
        url = await _start_cluster(settings, supervisor, console)
    await bootstrap.create_roles(url)
    addresses = await _give_passwords(settings, url, console)
    console.say("migrating the schemas")
    await asyncio.to_thread(bootstrap.migrate_services, url)
    return addresses


async def choose_time_zone(settings: RunSettings, url: str, preferred: str | None) -> str | None:
    """Return the reporting zone of a run: the kept data's, else `preferred`; `url` is the migrator's.

    Raises:
        RunError: REPORTING_TIME_ZONE is another than the kept data's; the message names the way out.
    """
    connection = await asyncpg.connect(url)
    try:
        kept: str | None = await connection.fetchval(
            "select reporting_time_zone from analytics_v1.reporting_settings"
        )
    finally:
        await connection.close()
    asked = settings.reporting_time_zone
    if asked and kept and asked != kept:
        rebuild = settings.make_command("rebuild", f"REPORTING_TIME_ZONE={asked}")
        raise RunError(
            f"REPORTING_TIME_ZONE is {asked}, but the data here counts its days in {kept}: "
            f"leave the setting out, or count them again with `{rebuild}`"
        )
    return kept or preferred


async def _start_cluster(settings: RunSettings, supervisor: Supervisor, console: Console) -> str:
    password = keep_passwords(settings.data_dir, [ADMINISTRATOR]).by_role[ADMINISTRATOR]
    cluster = Cluster(folder=settings.data_dir / "postgres", port=settings.postgres_port, password=password)
    if await asyncio.to_thread(cluster.create):
        console.say(f"created a PostgreSQL cluster in {cluster.folder}")
    await supervisor.start(
        Program(
            name="postgres",
            command=cluster.command,
            is_ready=lambda: _is_ready(cluster),
            ports={"POSTGRES_PORT": settings.postgres_port},
            stop_signal=SIGINT,
            stop_seconds=60.0,
            user=server_user(),
            show=lambda: PostgresLines().shown,
        )
    )
    await bootstrap.create_database(cluster.url())
    return cluster.url(database=bootstrap.DATABASE)


async def _is_ready(cluster: Cluster) -> bool:
    return cluster.says_ready() and await postgres_connects(cluster.url())


async def _give_passwords(settings: RunSettings, url: str, console: Console) -> DatabaseAddresses:
    given = {
        "analytics": settings.analytics_database_url,
        "abtest": settings.abtest_database_url,
        "optimizer": settings.optimizer_database_url,
    }
    own = {role: address for role, address in given.items() if address}
    # Whoever gives every service its address manages the roles elsewhere, the reporting role included.
    managed = [] if len(own) == len(given) else [role for role in LOGIN_ROLES if role not in own]
    passwords = keep_passwords(settings.data_dir, managed)
    changed = await bootstrap.ensure_passwords(url, passwords.by_role, new=passwords.new)
    if changed and settings.database_url:
        console.say(f"gave new passwords to the roles {', '.join(changed)}")
    made = {role: role_address(url, role, passwords.by_role[role]) for role in managed}
    return DatabaseAddresses(**{"reporting": url, **made, **own, "admin": url})


async def _check_version(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        version = int(await connection.fetchval("show server_version_num"))
    finally:
        await connection.close()
    if version < OLDEST_SERVER_VERSION:
        raise RunError(f"DATABASE_URL names a PostgreSQL {version // 10000}: 15 or newer is needed")
