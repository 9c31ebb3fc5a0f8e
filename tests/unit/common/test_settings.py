from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, field_validator
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
    assert "setting SAMPLE_PORT: '99999' is more than 65535" in errors
    assert "setting SAMPLE_DATABASE_URL: required, but not set" in errors


class BoundedSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="BOUNDED_")

    share: float = Field(0.5, gt=0, lt=1, allow_inf_nan=False, description="a share")
    folder: Path | None = Field(None, description="a folder")
    models: Path = Field(Path("models"), description="another folder")
    peer_url: Annotated[str, Field(pattern="^https:")] = Field("https:", description="address of the peer")
    token_seconds: int = Field(1, description="named like a secret")
    checked: str = Field("a", description="checked by a function of its own")

    @field_validator("checked")
    @classmethod
    def _check(cls, value: str) -> str:
        if value != "a":
            raise ValueError("only a will do")
        return value


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PORT", "eighty", "'eighty' is not a whole number"),
        ("PORT", "-1", "'-1' is less than 0"),
        ("SHARE", "half", "'half' is not a number"),
        ("SHARE", "nan", "'nan' is not a finite number"),
        ("SHARE", "0", "'0' is not more than 0"),
        ("SHARE", "1", "'1' is not less than 1"),
        ("LOG_FORMAT", "xml", "'xml' is not 'console' or 'json'"),
        ("CHECKED", "b", "only a will do"),
        ("TOKEN_SECONDS", "hush", "it is not a whole number"),
        ("PEER_URL", "http://a:hush@b", "it is not valid"),
    ],
)
def test_a_wrong_setting_is_told_in_plain_words_and_no_secret_is_repeated(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    expected: str,
) -> None:
    monkeypatch.setenv(f"BOUNDED_{name}", value)
    with pytest.raises(SystemExit):
        load_settings(BoundedSettings)
    errors = capsys.readouterr().err
    assert errors == f"setting BOUNDED_{name}: {expected}\n"
    assert "hush" not in errors


def test_the_help_says_folders_and_unset_settings_in_words() -> None:
    text = describe_settings(BoundedSettings)
    assert "a folder (not set)" in text
    assert "another folder (default models)" in text


def test_the_help_names_every_setting_with_its_default() -> None:
    lines = describe_settings(SampleSettings).splitlines()
    assert len(lines) == len(SampleSettings.model_fields)
    assert any("SAMPLE_DATABASE_URL" in line and "(required)" in line for line in lines)
    assert any("SAMPLE_ZONE_NAME" in line and "(default 'UTC')" in line for line in lines)
    assert any("SAMPLE_DRAIN_SECONDS" in line and "(default 2.5)" in line for line in lines)
