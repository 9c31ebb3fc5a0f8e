from pathlib import Path

import pytest

from services.common.statements import load_statements, parse_statements

TEXT = """-- Statements of the test.

-- name: fetch_thing :one
-- The thing of an id,
-- or none.
select id
from things
-- a comment inside stays
where id = $1;

-- name: delete_thing :exec
-- Forgets a thing.
delete from things where id = $1
"""


def test_statements_are_read_by_name_with_kind_description_and_sql() -> None:
    statements = parse_statements(TEXT, "x.sql")
    assert list(statements) == ["fetch_thing", "delete_thing"]
    assert len(statements) == 2
    fetch = statements["fetch_thing"]
    assert fetch.kind == "one"
    assert fetch.description == "The thing of an id, or none."
    assert fetch.sql == "select id\nfrom things\n-- a comment inside stays\nwhere id = $1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("select 1;\n-- name: a :one\n-- A.\nselect 1;", "before the first"),
        ("-- name: a :one\nselect 1;", "lacks a description"),
        ("-- name: a :one\n-- A.\n", "lacks a description or SQL"),
        ("-- name: a :one\n-- A.\nselect 1;\n-- name: a :many\n-- A.\nselect 1;", "defined twice"),
        ("-- name: a :several\n-- A.\nselect 1;", "malformed header"),
    ],
)
def test_a_malformed_file_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_statements(text, "x.sql")


def test_the_files_of_a_folder_are_one_and_share_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "package_of_folder" / "sql" / "queries"
    folder.mkdir(parents=True)
    (tmp_path / "package_of_folder" / "__init__.py").write_text("")
    (folder / "a.sql").write_text("-- name: first :one\n-- One.\nselect 1;\n")
    (folder / "b.sql").write_text("-- name: second :one\n-- Two.\nselect 2;\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert list(load_statements("package_of_folder")) == ["first", "second"]
    (folder / "c.sql").write_text("-- name: first :one\n-- Again.\nselect 3;\n")
    with pytest.raises(ValueError, match=r"c\.sql: statement first is defined twice"):
        load_statements("package_of_folder")
