"""What the console shows of PostgreSQL's log; the file keeps every line as it is.

While a run starts, stops or recovers, the server complains of what the run itself does: connections that come
too early, statements that are cancelled, clients that are gone. None of it is news to a person.
"""

import re

LINE_PREFIX = "%m [%p] "

_PREFIXED = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \S+ \[(\d+)\] (.*)$", re.DOTALL)
_MESSAGE = re.compile(r"^(DEBUG\d?|INFO|NOTICE|WARNING|LOG|ERROR|FATAL|PANIC):  (.*)$", re.DOTALL)
_RECOVERY = "database system was not properly shut down; automatic recovery in progress"
_RECOVERING = "postgres is recovering (it was not shut down properly)"
_FILE_ONLY = (
    # connections of processes that start together with the server
    "the database system is starting up",
    "the database system is not yet accepting connections",
    "the database system is in recovery mode",
    "the database system is shutting down",
    # clients that stop, or are gone
    "canceling statement due to user request",
    "terminating connection due to administrator command",
    "terminating connection due to unexpected postmaster exit",
    "terminating connection because of crash of another server process",
    "terminating background worker",
    "unexpected EOF on client connection",
    "connection to client lost",
    "could not receive data from client",
    "could not send data to client",
    # the steps of a recovery, which is one line here
    "database system was interrupted",
    "redo starts at",
    "redo done at",
    "redo in progress",
    "redo is not required",
    "invalid record length at",
    "checkpoint starting: end-of-recovery",
    "checkpoint complete",
    "syncing data directory",
)


class PostgresLines:
    """Decides line by line; the lines that belong to a message share its fate."""

    def __init__(self) -> None:
        self._hidden: dict[str, bool] = {}
        self._last_process = ""

    def shown(self, line: str) -> str | None:
        """Return what to show of `line` of the log; None for nothing."""
        prefixed = _PREFIXED.match(line)
        if prefixed is None:  # another line of the last message
            return None if self._hidden.get(self._last_process) else line
        process, text = prefixed.groups()
        self._last_process = process
        message = _MESSAGE.match(text)
        if message is not None:
            self._hidden[process] = message[2].startswith(_FILE_ONLY)
            if message[2].startswith(_RECOVERY):
                return _RECOVERING
        return None if self._hidden.get(process) else text
