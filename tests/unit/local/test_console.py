import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.local.console import Console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_each_line_has_its_process_before_it_and_goes_to_its_file(tmp_path: Path) -> None:
    stream = io.StringIO()
    console = Console(tmp_path, stream=stream)
    console.line("analytics", "serving 100% of calls")
    console.say("two\nlines")
    console.close()
    assert stream.getvalue().splitlines() == [
        "analytics    | serving 100% of calls",
        "run          | two",
        "run          | lines",
    ]
    assert (tmp_path / "analytics.log").read_text() == "serving 100% of calls\n"


def test_colours_are_for_terminals(tmp_path: Path) -> None:
    stream, terminal = io.StringIO(), Terminal()
    Console(tmp_path / "a", stream=stream).line("abtest", "x")
    Console(tmp_path / "b", stream=terminal).line("abtest", "x")
    assert "\x1b" not in stream.getvalue()
    assert "\x1b[" in terminal.getvalue()


def test_a_new_run_rotates_the_files_of_the_last(tmp_path: Path) -> None:
    for run in ("first", "second", "third"):
        console = Console(tmp_path, stream=io.StringIO())
        console.line("abtest", run)
        console.close()
    kept = [(tmp_path / name).read_text() for name in ("abtest.log", "abtest.log.1", "abtest.log.2")]
    assert kept == ["third\n", "second\n", "first\n"]


def test_lines_that_are_not_shown_are_kept(tmp_path: Path) -> None:
    stream = io.StringIO()
    console = Console(tmp_path, stream=stream)
    console.show_only("demo")
    console.line("analytics", "hidden")
    console.line("demo", "shown")
    console.show_only()
    console.line("analytics", "shown again")
    assert "hidden" not in stream.getvalue()
    assert "shown again" in stream.getvalue()
    assert (tmp_path / "analytics.log").read_text() == "hidden\nshown again\n"


def test_progress_replaces_itself_on_a_terminal(tmp_path: Path) -> None:
    terminal = Terminal()
    console = Console(tmp_path, stream=terminal)
    console.progress("demo", "10%")
    console.progress("demo", "20%")
    console.line("demo", "done")
    assert "\n" not in terminal.getvalue().split("20%")[0]
    assert terminal.getvalue().count("\n") == 1


def test_progress_elsewhere_is_a_line_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 100.0, 101.0, 111.0, 111.0])
    monkeypatch.setattr("deploy.local.console.time", SimpleNamespace(monotonic=lambda: next(now)))
    stream = io.StringIO()
    console = Console(tmp_path, stream=stream)
    for percent in ("10%", "11%", "90%"):
        console.progress("demo", percent)
    assert stream.getvalue().splitlines() == ["demo         | 10%", "demo         | 90%"]


def test_a_reader_that_went_away_stops_nothing(tmp_path: Path) -> None:
    stream = io.StringIO()
    console = Console(tmp_path, stream=stream)
    stream.close()
    console.line("abtest", "still kept")
    assert (tmp_path / "abtest.log").read_text() == "still kept\n"
