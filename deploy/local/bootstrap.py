"""Prepares a database for the services: roles and schemas, passwords, migrations."""

import asyncio
import base64
import hashlib
import hmac
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from deploy.local.errors import RunError
from deploy.local.paths import ROLES_SQL
from services.common.errors import DomainError
from services.common.migrations import migrate

DATABASE = "merchants_db"
LOGIN_ROLES = ("analytics", "abtest", "optimizer", "reporting")
MIGRATED_SERVICES = ("analytics", "abtest", "optimizer")

_SCRAM_ITERATIONS = 4096


@dataclass(frozen=True, kw_only=True)
class DatabaseAddresses:
    """One database as its migrator and as each login role reach it."""

    admin: str = field(repr=False)
    analytics: str = field(repr=False)
    abtest: str = field(repr=False)
    optimizer: str = field(repr=False)
    reporting: str = field(repr=False)


async def wait_until_connectable(url: str, *, timeout_seconds: float = 300.0) -> None:
    """Return when the server at `url` takes connections.

    Raises:
        RunError: it did not within `timeout_seconds`, or it refuses the address for another reason.
    """
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    while True:
        try:
            connection = await asyncpg.connect(url, timeout=5)
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError) as error:
            if asyncio.get_running_loop().time() >= deadline:
                raise RunError(f"no PostgreSQL answers at {describe_address(url)}: {error}") from error
            await asyncio.sleep(0.05)
        except asyncpg.PostgresError as error:
            raise RunError(f"PostgreSQL at {describe_address(url)} refuses: {error}") from error
        else:
            await connection.close()
            return


async def create_database(url: str, *, name: str = DATABASE) -> bool:
    """Create the database `name` in the cluster at `url` unless it is there; return whether it was."""
    connection = await asyncpg.connect(url)
    try:
        if await connection.fetchval("select 1 from pg_database where datname = $1", name):
            return False
        await connection.execute(f'create database "{name}"')
        return True
    finally:
        await connection.close()


async def create_roles(url: str) -> None:
    """Run roles.sql at `url`, the migrator's address; nothing changes when all is there.

    Raises:
        RunError: the migrator lacks a right it needs.
    """
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(ROLES_SQL.read_text())
    except asyncpg.InsufficientPrivilegeError as error:
        raise RunError(
            f"the role of DATABASE_URL may not set up the database: {error}; "
            "let an administrator run deploy/postgres/roles.sql first"
        ) from error
    finally:
        await connection.close()


async def ensure_passwords(url: str, passwords: Mapping[str, str], *, new: Collection[str] = ()) -> list[str]:
    """Give each role in `passwords` its password unless it already logs in with it; return the changed roles.

    The passwords of the roles in `new` were made just now, so logging in with them is not even tried.
    The server sees only the password's SCRAM verifier, so nothing readable reaches its logs.

    Raises:
        RunError: a password would have to change and the migrator may not change it.
    """
    changed = [
        role for role, password in passwords.items() if role in new or not await _logs_in(url, role, password)
    ]
    if not changed:
        return []
    connection = await asyncpg.connect(url)
    try:
        for role in changed:
            verifier = scram_verifier(passwords[role], salt=os.urandom(16))
            await connection.execute(f"alter role \"{role}\" password '{verifier}'")
    except asyncpg.InsufficientPrivilegeError as error:
        raise RunError(
            f"the role of DATABASE_URL may not set passwords ({error}): give each service its own address "
            "by ANALYTICS_DATABASE_URL, ABTEST_DATABASE_URL and OPTIMIZER_DATABASE_URL"
        ) from error
    finally:
        await connection.close()
    return changed


def migrate_services(url: str, services: Iterable[str] = MIGRATED_SERVICES) -> None:
    """Migrate each service's schema, one after the other.

    Raises:
        RunError: a migration failed; its last lines are in the message.
    """
    for service in services:
        try:
            migrate(service, url)
        except DomainError as error:
            raise RunError(str(error)) from error


def addresses(url: str, passwords: Mapping[str, str]) -> DatabaseAddresses:
    """Return the addresses of all roles for the database of `url`, the migrator's own address."""
    return DatabaseAddresses(
        admin=url, **{role: role_address(url, role, passwords[role]) for role in LOGIN_ROLES}
    )


def role_address(url: str, role: str, password: str) -> str:
    """Return `url` with another role and password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(role, safe='')}:{quote(password, safe='')}@{host}"))


def describe_address(url: str) -> str:
    """Return host, port and database of `url`, without its password."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def scram_verifier(password: str, *, salt: bytes) -> str:
    """Return the SCRAM-SHA-256 verifier PostgreSQL stores for `password` (RFC 5803; ASCII passwords)."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, _SCRAM_ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (base64.b64encode(part).decode() for part in (salt, stored_key, server_key))
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{salt64}${stored64}:{server64}"


async def _logs_in(url: str, role: str, password: str) -> bool:
    try:
        connection = await asyncpg.connect(role_address(url, role, password), timeout=10)
    except asyncpg.InvalidAuthorizationSpecificationError:
        return False
    await connection.close()
    return True
