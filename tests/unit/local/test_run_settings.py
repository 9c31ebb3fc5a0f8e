from pathlib import Path

import pytest

from deploy.local.settings import RunSettings
from services.common.settings import load_settings


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in RunSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_defaults_are_the_documented_ports() -> None:
    ports = RunSettings().ports()
    assert ports["GATEWAY_PORT"] == 8080
    assert ports["POSTGRES_PORT"] == 54329
    assert len(ports) == len(set(ports.values())) == 11


def test_an_external_database_needs_no_postgres_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://somewhere/merchants_db")
    assert "POSTGRES_PORT" not in RunSettings().ports()


def test_the_data_folder_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", "here")
    settings = RunSettings()
    assert settings.data_dir == tmp_path / "here"
    assert settings.models == tmp_path / "here" / "models"


@pytest.mark.parametrize(
    ("name", "value"), [("GATEWAY_PORT", "eighty"), ("ABTEST_PORT", "0"), ("DEMO", "maybe")]
)
def test_a_wrong_setting_fails_by_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as raised:
        load_settings(RunSettings)
    assert raised.value.code == 2
    assert f"setting {name}:" in capsys.readouterr().err


def test_an_address_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://someone:secret@somewhere/merchants_db")
    assert "secret" not in repr(RunSettings())
