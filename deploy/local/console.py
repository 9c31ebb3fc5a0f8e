"""What a run shows and keeps: every line has its process's name before it and is written to a file."""

import logging
import shutil
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

KEPT_RUNS = 5
MAX_FILE_BYTES = 50_000_000
RUNNER = "run"

_BOLD = 1
_COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)
_PROGRESS_SECONDS = 10.0
_ERASE_LINE = "\r\x1b[K"


class Console:
    """The terminal (or whatever standard output is) and the log files of one run."""

    def __init__(self, folder: Path, *, stream: TextIO | None = None) -> None:
        self._folder = folder
        self._stream = stream or sys.stdout
        self._terminal = self._stream.isatty()
        self._encoding = self._stream.encoding or "utf-8"
        self._mute = False
        self._files: dict[str, RotatingFileHandler] = {}
        self._colours: dict[str, int] = {}
        self._shown: set[str] | None = None
        self._progress_open = False
        self._progress_at = 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def say(self, text: str) -> None:
        """Show a line (or several) of the run itself."""
        for line in text.split("\n"):
            self.line(RUNNER, line)

    def plain(self, text: str) -> None:
        """Show lines of the run itself as they are, to be copied."""
        for line in text.split("\n"):
            self._keep(RUNNER, line)
        self._write(f"{text}\n")

    def show_only(self, *names: str) -> None:
        """Show only these processes and the run itself, or all without names. Files get everything."""
        self._shown = {*names, RUNNER} if names else None

    def keep(self, name: str, text: str) -> None:
        """Write one line to the file of the process `name` without showing it."""
        self._keep(name, text)

    def line(self, name: str, text: str, *, kept: str | None = None) -> None:
        """Keep one line of the process `name`, and show it unless it is one of those not shown now.

        The file gets `kept` instead where it is given.
        """
        self._keep(name, text if kept is None else kept)
        if self._shown is None or name in self._shown:
            ending = _ERASE_LINE if self._progress_open else ""
            self._progress_open = False
            self._write(f"{ending}{self._prefix(name)}{text}\n")

    def progress(self, name: str, text: str) -> None:
        """Show a line that the next one replaces; where there is no terminal, at most one in ten seconds."""
        if self._terminal:
            self._progress_open = True
            self._write(f"{_ERASE_LINE}{self._prefix(name)}{text[: self.columns]}")
        elif time.monotonic() - self._progress_at >= _PROGRESS_SECONDS:
            self._progress_at = time.monotonic()
            self.line(name, text)

    @property
    def columns(self) -> int:
        """Room for text beside the prefix."""
        return max(20, shutil.get_terminal_size((100, 24)).columns - len(_plain_prefix("")) - 1)

    def log_path(self, name: str) -> Path:
        """Return the file that keeps the lines of the process `name`."""
        return self._folder / f"{name}.log"

    def close(self) -> None:
        """Close the log files."""
        for handler in self._files.values():
            handler.close()
        self._files.clear()

    def _keep(self, name: str, text: str) -> None:
        if name not in self._files:
            path = self.log_path(name)
            handler = RotatingFileHandler(
                path, maxBytes=MAX_FILE_BYTES, backupCount=KEPT_RUNS, encoding="utf-8", errors="replace"
            )
            if path.stat().st_size > 0:
                handler.doRollover()
            self._files[name] = handler
        record = logging.LogRecord(name, logging.INFO, "", 0, text, None, None)
        self._files[name].emit(record)

    def _prefix(self, name: str) -> str:
        prefix = _plain_prefix(name)
        if not self._terminal:
            return prefix
        next_colour = _COLOURS[len(self._colours) % len(_COLOURS)]
        colour = _BOLD if name == RUNNER else self._colours.setdefault(name, next_colour)
        return f"\x1b[{colour}m{prefix}\x1b[0m"

    def _write(self, text: str) -> None:
        if self._mute:
            return
        try:
            self._stream.write(text.encode(self._encoding, "replace").decode(self._encoding))
            self._stream.flush()
        except (BrokenPipeError, ValueError):
            self._mute = True  # nobody reads any more; the files go on


def _plain_prefix(name: str) -> str:
    return f"{name:<12} | "
