"""Applies a service's migrations: plain SQL in dbmate's format, one migrations table per service."""

import os
import subprocess
from importlib.resources import as_file, files
from pathlib import Path
from shutil import which
from sys import executable
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from services.common.errors import FailedPreconditionError


def migrate(service: str, database_url: str) -> None:
    """Bring the schema of `service` (such as `analytics`) to its newest version; safe to run at any time.

    A lock in the database keeps two migrators apart. `database_url` is the migrator's address.

    Raises:
        FailedPreconditionError: the tool is missing or a migration failed; the message holds its last lines.
    """
    with as_file(files(f"services.{service}").joinpath("sql/migrations")) as folder:
        command = [
            str(_find_dbmate()),
            "--migrations-dir",
            str(folder),
            "--migrations-table",
            f"migrations.{service}",
            "--no-dump-schema",
            "--migration-lock",
            "migrate",
        ]
        # The address goes by environment: an argument would show its password to everyone on the machine.
        environment = {**os.environ, "DATABASE_URL": _with_ssl_mode(database_url)}
        result = subprocess.run(  # noqa: S603 (no shell)
            command, env=environment, capture_output=True, text=True, check=False
        )
    if result.returncode != 0:
        lines = (result.stdout + result.stderr).strip().splitlines()[-5:]
        raise FailedPreconditionError(
            f"the migrations of {service} failed: " + " | ".join(lines), reason="MIGRATION_FAILED"
        )


def _find_dbmate() -> Path:
    beside = Path(executable).parent / "dbmate"
    found = str(beside) if beside.exists() else which("dbmate")
    if found is None:
        raise FailedPreconditionError(
            "dbmate is not installed; it is in every service's dependency group", reason="DBMATE_MISSING"
        )
    return Path(found)


def _with_ssl_mode(url: str) -> str:
    """Return `url` with sslmode=disable on loopback: dbmate's driver requires TLS unless told."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    if "sslmode" not in query and parts.hostname in {"127.0.0.1", "localhost", "::1", None}:
        query["sslmode"] = "disable"
    return urlunsplit(parts._replace(query=urlencode(query)))
