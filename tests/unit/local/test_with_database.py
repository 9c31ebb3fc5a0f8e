from pathlib import Path

import pytest

from deploy.local.errors import RunError
from deploy.local.lock import data_lock
from deploy.local.passwords import keep_passwords
from deploy.local.settings import RunSettings
from deploy.local.with_database import address_of, open_kept_database, psql_command

URL = "postgresql://migrator:secret@db.internal:5432/merchants_db?sslmode=disable"


def settings_of(folder: Path, **values: str) -> RunSettings:
    return RunSettings.model_validate({"data_dir": folder, **values})


def test_an_empty_folder_names_the_command_that_fills_it(tmp_path: Path) -> None:
    with (
        pytest.raises(RunError, match=rf"no database yet: `make run DATA_DIR={tmp_path}`"),
        open_kept_database(settings_of(tmp_path)),
    ):
        pass


def test_a_run_that_is_still_starting_is_named(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("18\n")
    keep_passwords(tmp_path, ["postgres"])
    with (
        data_lock(tmp_path),
        pytest.raises(RunError, match="try again in a moment"),
        open_kept_database(settings_of(tmp_path)),
    ):
        pass


def test_the_address_of_database_url_is_taken_as_it_is(tmp_path: Path) -> None:
    with open_kept_database(settings_of(tmp_path, database_url=URL)) as url:
        assert url == URL


def test_a_role_has_its_given_or_its_kept_address(tmp_path: Path) -> None:
    passwords = keep_passwords(tmp_path, ["reporting"]).by_role
    given = settings_of(tmp_path, analytics_database_url="postgresql://analytics@elsewhere/x")
    assert address_of(given, URL, "analytics") == "postgresql://analytics@elsewhere/x"
    assert f"//reporting:{passwords['reporting']}@db.internal:5432/" in address_of(given, URL, "reporting")
    with pytest.raises(RunError, match=r"no password of the role nobody \(kept: reporting\)"):
        address_of(given, URL, "nobody")


def test_the_password_is_not_on_psqls_command_line() -> None:
    command, environment = psql_command(URL.replace("secret", "a%40b"), ["-c", "select 1"])
    assert command[1:] == [
        "-d",
        "postgresql://migrator@db.internal:5432/merchants_db?sslmode=disable",
        "-c",
        "select 1",
    ]
    assert environment == {"PGPASSWORD": "a@b"}
