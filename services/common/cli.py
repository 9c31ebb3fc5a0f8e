"""The command line that every service has: serve (the default), migrate, its own commands, and --help."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import uvloop

from services.common.errors import DomainError
from services.common.migrations import migrate
from services.common.settings import (
    ServiceSettings,
    SettingsType,
    describe_settings,
    load_settings,
)
from services.common.telemetry import configure_logging

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Command(Generic[SettingsType]):
    """A command of a service beside serve and migrate.

    `arguments` adds its options to a parser; `run` does the work and returns the exit status.
    """

    help: str
    run: Callable[[SettingsType, argparse.Namespace], Coroutine[Any, Any, int]]
    arguments: Callable[[argparse.ArgumentParser], object] = field(default=lambda _parser: None)


@dataclass(frozen=True, kw_only=True)
class OfflineCommand:
    """A command that needs no settings; as `Command` otherwise."""

    help: str
    run: Callable[[argparse.Namespace], int]
    arguments: Callable[[argparse.ArgumentParser], object] = field(default=lambda _parser: None)


Commands = Mapping[str, Command[SettingsType] | OfflineCommand]


def run_service_command(
    service: str,
    settings_class: type[SettingsType],
    serve: Callable[[SettingsType], Coroutine[Any, Any, None]],
    *,
    migrates: bool,
    commands: Commands[SettingsType] | None = None,
    arguments: Sequence[str] | None = None,
) -> int:
    """Run `python -m services.<service>`; returns the exit status (0, 1 for a refusal, 2 for wrong usage).

    Args:
        service: the package's name under `services`, such as `analytics`.
        settings_class: read from the environment before any command but migrate and offline ones.
        serve: serves until told to stop.
        migrates: whether the service has migrations.
        commands: further commands by name.
        arguments: instead of the process's own.
    """
    commands = commands or {}
    parsed = _build_parser(service, settings_class, commands, migrates=migrates).parse_args(arguments)
    try:
        if parsed.command == "migrate":
            return _migrate(service)
        command = commands.get(parsed.command)
        if isinstance(command, OfflineCommand):
            return command.run(parsed)
        settings = load_settings(settings_class)
        if isinstance(settings, ServiceSettings):
            configure_logging(level=settings.log_level, log_format=settings.log_format, service=service)
        if command is None:
            _run(serve(settings))
            return 0
        return _run(command.run(settings, parsed))
    except DomainError as error:
        print(f"{service}: {error.message}", file=sys.stderr)  # noqa: T201 (the answer of a command)
        return 1


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _migrate(service: str) -> int:
    url = os.environ.get("DATABASE_URL")
    if not url:
        print("setting DATABASE_URL: required: the migrator's address", file=sys.stderr)  # noqa: T201
        return 2
    migrate(service, url)
    return 0


def _title(service: str) -> str:
    name = service.replace("_", " ")
    return name if name.endswith("server") else f"{name} service"


def _build_parser(
    service: str,
    settings_class: type[SettingsType],
    commands: Commands[SettingsType],
    *,
    migrates: bool,
) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m services.{service}",
        description=f"The {_title(service)} of the Campaign Optimization System.",
        epilog="settings, from the environment:\n" + describe_settings(settings_class),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    choices = parser.add_subparsers(dest="command", metavar="command")
    choices.add_parser("serve", help="serve until SIGTERM or SIGINT (the default)")
    if migrates:
        choices.add_parser("migrate", help="bring the schema to its newest version; needs DATABASE_URL")
    for name, command in commands.items():
        command.arguments(choices.add_parser(name, help=command.help, description=command.help))
    return parser
