from pathlib import Path

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common import migrations
from services.common.errors import FailedPreconditionError

GOOD = "-- migrate:up\ncreate table public.first (id int);\n-- migrate:down\ndrop table public.first;\n"
BAD = "-- migrate:up\ncreate table public.second (id nonsense);\n-- migrate:down\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "sql/migrations"
    folder.mkdir(parents=True)
    monkeypatch.setattr(migrations, "files", lambda _name: tmp_path)
    return folder


async def tables(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "select tablename from pg_tables where schemaname in ('public', 'migrations')"
        )
        return {str(row["tablename"]) for row in rows}
    finally:
        await connection.close()


async def test_migrations_apply_once_in_a_table_of_the_service(
    database: DatabaseAddresses, package: Path
) -> None:
    (package / "0001_create_first.sql").write_text(GOOD, encoding="utf-8")
    migrations.migrate("sample", database.admin)
    migrations.migrate("sample", database.admin)
    assert {"first", "sample"} <= await tables(database.admin)


async def test_a_failing_migration_says_which_and_leaves_nothing_half_done(
    database: DatabaseAddresses, package: Path
) -> None:
    (package / "0001_create_first.sql").write_text(GOOD, encoding="utf-8")
    (package / "0002_create_second.sql").write_text(BAD, encoding="utf-8")
    with pytest.raises(FailedPreconditionError, match="nonsense") as caught:
        migrations.migrate("sample", database.admin)
    assert caught.value.reason == "MIGRATION_FAILED"
    assert "second" not in await tables(database.admin)


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(migrations, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(migrations, "which", lambda _name: None)
    with pytest.raises(FailedPreconditionError, match="dbmate is not installed"):
        migrations.migrate("analytics", "postgresql://127.0.0.1/x")
