"""A service's readable schema beside what its migrations make."""

import subprocess
from pathlib import Path

import asyncpg

from deploy.local import bootstrap
from deploy.local.postgres import Cluster, find_binaries

SERVICES = Path(__file__).resolve().parents[1] / "services"


def dump_schemas(url: str, service: str) -> str:
    """Return pg_dump's text of a service's own schema and of the one it publishes."""
    schemas = [f"--schema={service}", f"--schema={service}_v1"]
    command = [str(find_binaries() / "pg_dump"), "--schema-only", "--restrict-key=same", *schemas, url]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def schema_files(service: str) -> list[Path]:
    """Return `sql/schema.sql`, or where a service has `sql/schema/`, its files in order."""
    folder = SERVICES / service / "sql/schema"
    return sorted(folder.glob("*.sql")) if folder.is_dir() else [folder.with_suffix(".sql")]


async def dump_schema_file(cluster: Cluster, service: str) -> str:
    """Return the same text of a new database that has the service's readable schema alone."""
    name = f"{service}_schema_file"
    url = cluster.url(database=name)
    await bootstrap.create_database(cluster.url(), name=name)
    await bootstrap.create_roles(url)
    connection = await asyncpg.connect(url)
    try:
        for path in schema_files(service):
            await connection.execute(path.read_text(encoding="utf-8"))
    finally:
        await connection.close()
    return dump_schemas(url, service)
