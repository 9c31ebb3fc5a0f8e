"""Who may import what, room by room; `lint-imports` holds the layers, this holds the exact allowances."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("analytics", "abtest", "optimizer", "model_server")
STANDARD = sys.stdlib_module_names

ALLOWED = {
    "domain": {"numpy", "scipy", "services.common.errors"},
    "operations": {
        "numpy",
        "services.common.attempts",
        "services.common.errors",
        "services.common.database",
        "services.common.jobs",
        "services.common.job_table",
        "services.common.paging",
        "services.common.telemetry",
        "services.common.threads",
        "services.common.waiting_room",
    },
    "store": {"asyncpg", "services.common.database", "services.common.statements", "services.common.errors"},
}
"""What a room may import beside the standard library and the service's own rooms below it."""

BELOW = {
    "domain": {"domain"},
    "store": {"store", "domain"},
    "operations": {"operations", "store", "domain", "settings", "model_client", "model_repository"},
}


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            if node.module in {"services", "services.common"} or node.module.startswith("gen"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def room_of(path: Path) -> str:
    """Return the room of a file: the folder or module directly under its service."""
    parts = path.relative_to(ROOT / "services").parts
    return parts[1].removesuffix(".py")


def files_of(room: str) -> list[Path]:
    return [
        path
        for service in SERVICES
        for path in sorted((ROOT / "services" / service).rglob("*.py"))
        if room_of(path) == room
    ]


def covers(allowed: set[str], module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_imports_only_what_it_may(room: str) -> None:
    files = files_of(room)
    assert files
    for path in files:
        service = path.relative_to(ROOT / "services").parts[0]
        own = {f"services.{service}.{below}" for below in BELOW[room]}
        for module in imported_modules(path):
            top = module.split(".", maxsplit=1)[0]
            assert top in STANDARD or covers(ALLOWED[room] | own, module), (
                f"{path.relative_to(ROOT)} imports {module}"
            )


def test_only_convert_servicer_and_server_see_generated_code() -> None:
    allowed = {"convert", "servicer", "server", "model_client"}
    for service in SERVICES:
        for path in sorted((ROOT / "services" / service).rglob("*.py")):
            if service == "model_server" or room_of(path) in allowed:
                continue
            generated = [module for module in imported_modules(path) if module.startswith("gen.")]
            assert not generated, f"{path.relative_to(ROOT)} imports {generated}"


def test_only_stores_and_the_database_module_import_the_driver() -> None:
    for path in sorted((ROOT / "services").rglob("*.py")):
        if "asyncpg" in {module.split(".", maxsplit=1)[0] for module in imported_modules(path)}:
            relative = path.relative_to(ROOT / "services")
            assert str(relative) == "common/database.py" or room_of(path) == "store", (
                f"{relative} imports asyncpg"
            )


def test_plumbing_knows_no_service_and_no_business_word() -> None:
    for path in sorted((ROOT / "services/common").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for service in SERVICES:
            assert f"services.{service}" not in {*imported_modules(path)}
        for word in ("conversion", "merchant", "impression", "campaign_"):
            assert word not in text.lower(), f"{path.relative_to(ROOT)} speaks of {word}"


def test_init_files_are_empty() -> None:
    """But for the one that says what holds before anything is imported."""
    for path in sorted((ROOT / "services").glob("*/**/__init__.py")):
        assert path.read_text(encoding="utf-8") == "", path
