"""A real `python -m deploy.local` on free ports, and what a test asks of it."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from deploy.local.settings import RunSettings
from tests.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 300.0
"""What nothing takes that ends at all, on a machine however busy."""


class LocalRun:
    """One run in a process of its own; its output is collected line by line.

    Args:
        data_dir: DATA_DIR.
        settings: further environment variables; ports that are not named are free ones.
    """

    def __init__(self, data_dir: Path, **settings: str) -> None:
        own = {"DATA_DIR": str(data_dir), "DEMO": "0", "START_SECONDS": f"{LIMIT_SECONDS}"}
        self.settings = {**free_ports(), **own, **settings}
        unset = {name.upper() for name in RunSettings.model_fields}
        inherited = {name: value for name, value in untraced_environment().items() if name not in unset}
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local"],
            cwd=REPOSITORY,
            env={**inherited, **self.settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        """Everything said so far."""
        return "\n".join(self.lines)

    @property
    def gateway(self) -> str:
        """The gateway's address."""
        return f"http://127.0.0.1:{self.settings['GATEWAY_PORT']}"

    def until_said(self, *texts: str, seconds: float = LIMIT_SECONDS) -> str:
        """Wait for a line that holds all of `texts` and return it."""
        deadline = time.monotonic() + seconds
        seen = 0
        with self._changed:
            while True:
                for line in self.lines[seen:]:
                    if all(text in line for text in texts):
                        return line
                seen = len(self.lines)
                if self.process.poll() is not None and not self._reader.is_alive():
                    raise AssertionError(f"ended without saying {texts}:\n{self.output}")
                if not self._changed.wait(min(1.0, deadline - time.monotonic())):
                    assert time.monotonic() < deadline, f"did not say {texts}:\n{self.output}"

    def until_ready(self) -> "LocalRun":
        """Wait for the ready line."""
        self.until_said("ready in ", "Ctrl-C stops")
        return self

    def health(self) -> int:
        """Return the status of GET /healthz; 0 when nobody answers."""
        return self.status("/healthz")

    def status(self, path: str) -> int:
        """Return the status of a GET; 0 when nobody answers."""
        try:
            return self.get(path)[0]
        except (OSError, http.client.HTTPException):
            return 0

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a GET at the gateway."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", int(self.settings["GATEWAY_PORT"]), timeout=LIMIT_SECONDS
        )
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def until_answered(self, path: str = "/healthz") -> None:
        """Ask until the answer is that all is well."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while (status := self.status(path)) != http.client.OK:
            assert time.monotonic() < deadline, f"{path} answers {status}:\n{self.output}"
            time.sleep(0.05)

    def children(self) -> dict[int, str]:
        """Return the run's descendants: process id -> command line."""
        found: dict[int, str] = {}
        parents = {self.process.pid}
        while parents:
            children = {pid for pid, parent in _processes().items() if parent in parents and pid not in found}
            found.update({pid: _command_line(pid) for pid in children})
            parents = children
        return found

    def child(self, name: str) -> int:
        """Return the process id of the one child whose command line holds `name`."""
        (pid,) = [
            pid
            for pid, parent in _processes().items()
            if parent == self.process.pid and name in _command_line(pid)
        ]
        return pid

    def wait(self, *, seconds: float = LIMIT_SECONDS) -> int:
        """Wait for the run's end and return its exit status."""
        status = self.process.wait(timeout=seconds)
        self._reader.join(timeout=LIMIT_SECONDS)
        return status

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.wait()

    def __enter__(self) -> "LocalRun":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=LIMIT_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()


def untraced_environment() -> dict[str, str]:
    """Return this process's environment without what has coverage measured in children.

    Whole systems under the tracer take half as long again and cover nothing that other tests do not.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS_")}


def free_ports() -> dict[str, str]:
    """Return a free port for every port setting of a run."""
    names = [name.upper() for name in RunSettings.model_fields if name.endswith("_port")]
    return {name: str(free_port()) for name in names}


def is_running(pid: int) -> bool:
    """Return whether a process lives; one that ended and was not reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def listens(port: int) -> bool:
    """Return whether anybody takes connections on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _processes() -> dict[int, int]:
    """Return every process with its parent."""
    processes = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        processes[int(stat.parent.name)] = int(fields[1])
    return processes


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
