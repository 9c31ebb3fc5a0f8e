import argparse
import asyncio

import pytest
from pydantic_settings import SettingsConfigDict

from services.common import cli
from services.common.cli import Command, OfflineCommand, run_service_command
from services.common.errors import FailedPreconditionError
from services.common.settings import ServiceSettings


class SampleSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="SAMPLE_")


async def count(_settings: SampleSettings, arguments: argparse.Namespace) -> int:
    await asyncio.sleep(0)
    return int(arguments.to)


COUNT = Command(
    help="count", run=count, arguments=lambda parser: parser.add_argument("--to", default=3) and None
)

DOUBLE = OfflineCommand(
    help="double",
    run=lambda arguments: 2 * int(arguments.number),
    arguments=lambda parser: parser.add_argument("number"),
)


def run(*arguments: str, migrates: bool = True) -> tuple[int, list[int]]:
    served: list[int] = []

    async def serve(settings: SampleSettings) -> None:
        await asyncio.sleep(0)
        served.append(settings.port)

    status = run_service_command(
        "sample",
        SampleSettings,
        serve,
        migrates=migrates,
        commands={"count": COUNT, "double": DOUBLE},
        arguments=arguments,
    )
    return status, served


@pytest.mark.parametrize("arguments", [(), ("serve",)])
def test_serving_is_the_default(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    monkeypatch.setenv("SAMPLE_PORT", "50077")
    assert run(*arguments) == (0, [50077])


def test_a_command_of_the_service_gets_its_arguments_and_gives_the_status() -> None:
    assert run("count", "--to", "7") == (7, [])


def test_an_offline_command_asks_for_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_PORT", "none")
    assert run("double", "21") == (42, [])
    with pytest.raises(SystemExit):
        run("count")


def test_help_lists_commands_and_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run("--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for expected in ("serve", "migrate", "count", "SAMPLE_PORT", "SAMPLE_DRAIN_SECONDS"):
        assert expected in text


@pytest.mark.parametrize(
    ("service", "title"),
    [("model_server", "The model server of the"), ("analytics", "The analytics service of the")],
)
def test_the_help_names_the_service(capsys: pytest.CaptureFixture[str], service: str, title: str) -> None:
    async def serve(_settings: SampleSettings) -> None:
        await asyncio.sleep(0)

    with pytest.raises(SystemExit):
        run_service_command(service, SampleSettings, serve, migrates=False, arguments=["--help"])
    assert title in capsys.readouterr().out


def test_a_service_without_migrations_has_no_such_command() -> None:
    with pytest.raises(SystemExit) as caught:
        run("migrate", migrates=False)
    assert caught.value.code == 2


def test_migrating_needs_the_migrators_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert run("migrate") == (2, [])
    assert "DATABASE_URL" in capsys.readouterr().err


def test_migrating_needs_no_setting_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    migrated: list[tuple[str, str]] = []
    monkeypatch.setenv("DATABASE_URL", "postgresql://migrator")
    monkeypatch.setenv("SAMPLE_PORT", "nonsense")
    monkeypatch.setattr(cli, "migrate", lambda service, url: migrated.append((service, url)))
    assert run("migrate") == (0, [])
    assert migrated == [("sample", "postgresql://migrator")]


def test_a_refusal_is_one_line_and_status_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_service: str, _url: str) -> None:
        raise FailedPreconditionError("the database is of another zone", reason="OTHER_ZONE")

    monkeypatch.setenv("DATABASE_URL", "postgresql://migrator")
    monkeypatch.setattr(cli, "migrate", refuse)
    assert run("migrate")[0] == 1
    assert capsys.readouterr().err == "sample: the database is of another zone\n"
