import json
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.local.clean_data import clean_data
from deploy.local.demo_state import (
    DemoState,
    check_demo,
    database_name,
    read_state,
    reporting_time_zone,
    write_state,
)
from deploy.local.errors import RunError
from deploy.local.lock import data_lock
from deploy.local.passwords import keep_passwords
from deploy.local.settings import RunSettings

REPOSITORY = Path(__file__).parents[3]


def settings_of(folder: Path, **values: str) -> RunSettings:
    return RunSettings.model_validate({"data_dir": folder, **values})


def state_of(demo: str) -> DemoState:
    return DemoState(
        demo=demo,
        database="embedded",
        began_at=datetime(2026, 11, 20, 9, 30, tzinfo=UTC),
        scale=0.5,
        complete=True,
    )


def test_passwords_are_kept_and_closed_to_others(tmp_path: Path) -> None:
    first = keep_passwords(tmp_path, ["postgres"])
    both = keep_passwords(tmp_path, ["postgres", "abtest"])
    assert both.by_role["postgres"] == first.by_role["postgres"] != both.by_role["abtest"]
    assert (first.new, both.new) == (frozenset({"postgres"}), frozenset({"abtest"}))
    again = keep_passwords(tmp_path, ["postgres", "abtest"])
    assert (again.by_role, again.new) == (both.by_role, frozenset())
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == both.by_role


def test_the_demo_state_is_remembered_for_its_database_only(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    assert read_state(settings) is None
    write_state(settings, state_of("1"))
    assert read_state(settings) == state_of("1")
    elsewhere = settings_of(tmp_path, database_url="postgresql://a:secret@db.internal:5432/merchants_db")
    assert read_state(elsewhere) is None
    assert database_name(elsewhere) == "db.internal:5432/merchants_db"


def test_another_demos_data_is_refused_and_the_way_out_named(tmp_path: Path) -> None:
    with pytest.raises(RunError) as raised:
        check_demo(settings_of(tmp_path, demo="complete-journey"), state_of("1"))
    assert f"{tmp_path} holds the data of the simulated world (DEMO=1)" in str(raised.value)
    assert f"`make clean-data DATA_DIR={tmp_path}`" in str(raised.value)
    assert "DATA_DIR" in str(raised.value)


def test_the_default_folder_needs_no_naming() -> None:
    with pytest.raises(RunError, match="`make clean-data` first"):
        check_demo(settings_of(Path(".data"), demo="complete-journey"), state_of("1"))


def test_no_demo_on_demo_data_is_noted(tmp_path: Path) -> None:
    note = check_demo(settings_of(tmp_path, demo="0"), state_of("1"))
    assert note is not None
    assert "make clean-data" in note
    assert check_demo(settings_of(tmp_path, demo="1"), state_of("1")) is None
    assert check_demo(settings_of(tmp_path, demo="1"), None) is None


def test_the_complete_journey_has_new_yorks_days(tmp_path: Path) -> None:
    journey = settings_of(tmp_path, demo="complete-journey")
    assert reporting_time_zone(journey, None) == "America/New_York"
    assert (
        reporting_time_zone(settings_of(tmp_path, demo="0"), state_of("complete-journey"))
        == "America/New_York"
    )
    assert reporting_time_zone(settings_of(tmp_path), None) is None
    chosen = settings_of(tmp_path, demo="complete-journey", reporting_time_zone="Europe/Berlin")
    assert reporting_time_zone(chosen, None) == "Europe/Berlin"


def test_cleaning_removes_what_runs_keep_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "base").mkdir(parents=True)
    (tmp_path / "demo.json").write_text("{}")
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "postgres" / "base" / "1").write_bytes(bytes(2_000_000))
    cleaned = clean_data(tmp_path)
    assert cleaned.removed == {"demo.json": 2, "postgres": 2_000_000}
    assert cleaned.describe(tmp_path) == (
        f"removed from {tmp_path}: demo.json (under 1 MB), postgres (2 MB); 2 MB in all; "
        "left there, as no run keeps it: mine.txt"
    )
    assert clean_data(tmp_path).describe(tmp_path) == (
        f"nothing to remove: {tmp_path} holds nothing a run keeps, only mine.txt"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_cleaning_removes_an_empty_folder_and_takes_a_missing_one(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "logs").mkdir(parents=True)
    assert clean_data(folder).describe(folder).endswith("; the folder is gone")
    assert not folder.exists()
    assert clean_data(folder).describe(folder) == f"nothing to remove: {folder} is not there"


def test_cleaning_is_refused_while_a_run_uses_the_folder(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    with data_lock(tmp_path), pytest.raises(RunError, match="another run"):
        clean_data(tmp_path)
    assert (tmp_path / "postgres").exists()


def test_the_cleaning_command_needs_only_the_standard_library(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "models").mkdir(parents=True)
    result = subprocess.run(
        [sys.executable, "-I", "-S", "deploy/local/clean_data.py"],
        cwd=REPOSITORY,
        env={"DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert not folder.exists()
