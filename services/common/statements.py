"""Named SQL statements, read from a service's `sql/queries.sql`, or from the files of its `sql/queries/`.

A statement is a header `-- name: fetch_campaign :one`, at least one comment line that says what it answers,
and the SQL. The kinds are `:one` (a row or none), `:many` (rows) and `:exec` (no rows).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Literal, cast

Kind = Literal["one", "many", "exec"]
_HEADER = re.compile(r"^-- name: (?P<name>[a-z][a-z0-9_]*) :(?P<kind>one|many|exec)$")


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement: its name, what it returns, what it is for, and its SQL."""

    name: str
    kind: Kind
    description: str
    sql: str


class Statements(Mapping[str, Statement]):
    """The statements of one file by name."""

    def __init__(self, statements: Mapping[str, Statement]) -> None:
        self._statements = dict(statements)

    def __getitem__(self, name: str) -> Statement:
        return self._statements[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._statements)

    def __len__(self) -> int:
        return len(self._statements)


def parse_statements(text: str, source: str) -> Statements:
    """Return the statements of `text`; `source` names the file in errors.

    Raises:
        ValueError: a duplicate name, a statement without description or SQL, or SQL before the first header.
    """
    statements: dict[str, Statement] = {}
    header: re.Match[str] | None = None
    lines: list[str] = []

    def finish() -> None:
        if header is None:
            if any(line.strip() and not line.startswith("--") for line in lines):
                raise ValueError(f"{source}: SQL before the first `-- name:` header")
            return
        statement = _build_statement(header["name"], cast("Kind", header["kind"]), lines, source)
        if statement.name in statements:
            raise ValueError(f"{source}: statement {statement.name} is defined twice")
        statements[statement.name] = statement

    for line in text.splitlines():
        match = _HEADER.match(line)
        if match is None:
            if line.startswith("-- name:"):
                raise ValueError(f"{source}: malformed header: {line}")
            lines.append(line)
            continue
        finish()
        header, lines = match, []
    finish()
    return Statements(statements)


def _build_statement(name: str, kind: Kind, lines: list[str], source: str) -> Statement:
    body = [line for line in lines if line.strip()]
    count = next((i for i, line in enumerate(body) if not line.startswith("--")), len(body))
    description = " ".join(line.removeprefix("--").strip() for line in body[:count])
    sql = "\n".join(body[count:]).strip().removesuffix(";")
    if not description or not sql:
        raise ValueError(f"{source}: statement {name} lacks a description or SQL")
    return Statement(name=name, kind=kind, description=description, sql=sql)


def load_statements(package: str) -> Statements:
    """Return the statements that ship inside `package`, such as `services.analytics`.

    Raises:
        ValueError: as `parse_statements`; a name may stand in one file only.
    """
    folder = files(package).joinpath("sql/queries")
    if not folder.is_dir():
        return _read(files(package).joinpath("sql/queries.sql"), f"{package}/sql/queries.sql")
    merged: dict[str, Statement] = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        for name, statement in _read(path, f"{package}/sql/queries/{path.name}").items():
            if merged.setdefault(name, statement) is not statement:
                raise ValueError(f"{package}/sql/queries/{path.name}: statement {name} is defined twice")
    return Statements(merged)


def _read(path: Traversable, source: str) -> Statements:
    return parse_statements(path.read_text(encoding="utf-8"), source)
