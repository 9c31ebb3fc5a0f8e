import pytest
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import ServiceSettings, describe_settings, load_settings


class SampleSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="SAMPLE_")

    database_url: str = Field(description="address of the database")
    zone: str = Field("UTC", validation_alias="SAMPLE_ZONE_NAME", description="a zone")


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_DATABASE_URL", "postgresql://x")
    monkeypatch.setenv("SAMPLE_PORT", "50099")
    monkeypatch.setenv("SAMPLE_HOST", "")
    settings = load_settings(SampleSettings)
    assert (settings.database_url, settings.port, settings.host) == ("postgresql://x", 50099, "127.0.0.1")


def test_wrong_and_missing_settings_are_all_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAMPLE_PORT", "99999")
    with pytest.raises(SystemExit) as caught:
        load_settings(SampleSettings)
    assert caught.value.code == 2
    errors = capsys.readouterr().err
    assert "setting SAMPLE_PORT: Input should be less than or equal to 65535" in errors
    assert "setting SAMPLE_DATABASE_URL: Field required" in errors


def test_the_help_names_every_setting_with_its_default() -> None:
    lines = describe_settings(SampleSettings).splitlines()
    assert len(lines) == len(SampleSettings.model_fields)
    assert any("SAMPLE_DATABASE_URL" in line and "(required)" in line for line in lines)
    assert any("SAMPLE_ZONE_NAME" in line and "(default 'UTC')" in line for line in lines)
    assert any("SAMPLE_DRAIN_SECONDS" in line and "(default 2.5)" in line for line in lines)
