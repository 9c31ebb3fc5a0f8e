import asyncio
import io
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from deploy.local import process
from deploy.local.console import Console
from deploy.local.errors import RunError
from deploy.local.ports import listener_of
from deploy.local.process import Child, Program, describe_status
from deploy.local.supervisor import Supervisor

LIMIT_SECONDS = 120.0
# Says nothing once it listens: a signal amid its words would find them locked.
LISTENER = """
import signal, socket, sys, time
def stop(*_):
    print("told to stop", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen()
while True:
    time.sleep(60)
"""
ORPHANING_RUN = """
import asyncio, io, sys
from pathlib import Path
from deploy.local import process
from deploy.local.console import Console
from deploy.local.ports import listener_of
from deploy.local.process import Child
async def main():
    child = await Child.start("child", ["sleep", "600"], Console(Path(sys.argv[1]), stream=io.StringIO()))
    print(child.pid, flush=True)
    await child.wait()
asyncio.run(main())
"""


class Bench:
    """A supervisor of small listeners, and what it said."""

    def __init__(self, folder: Path, *, start_seconds: float = LIMIT_SECONDS) -> None:
        self.stream = io.StringIO()
        self.console = Console(folder / "logs", stream=self.stream)
        self.supervisor = Supervisor(self.console, start_seconds=start_seconds, restart_seconds=0.01)

    @property
    def said(self) -> str:
        return self.stream.getvalue()

    async def until_said(self, text: str) -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            while text not in self.said:
                await asyncio.sleep(0.01)


def program(name: str, port: int, *, source: str = LISTENER) -> Program:
    async def is_ready() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    return Program(
        name=name,
        command=lambda: [sys.executable, "-c", source, str(port)],
        is_ready=is_ready,
        ports={f"{name.upper()}_PORT": port},
        stop_seconds=LIMIT_SECONDS,
    )


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.supervisor.stop()
    bench.console.close()


async def test_stages_stop_in_reverse_order_and_leave_nothing(
    bench: Bench, free_port: Callable[[], int]
) -> None:
    first, second = free_port(), free_port()
    await bench.supervisor.start(program("first", first))
    await bench.supervisor.start(program("second", second))
    assert listener_of(first)
    assert listener_of(second)
    await bench.supervisor.stop()
    assert listener_of(first) is listener_of(second) is None
    assert bench.said.index("second stopped") < bench.said.index("first stopped")
    assert bench.said.count("told to stop") == 2


async def test_a_killed_process_is_restarted_and_said_so(bench: Bench, free_port: Callable[[], int]) -> None:
    port = free_port()
    await bench.supervisor.start(program("abtest", port))
    first = listener_of(port)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await bench.until_said("abtest is ready again")
    assert "abtest died (signal SIGKILL); restart in" in bench.said
    assert listener_of(port) not in {None, first}


async def test_restarts_back_off_and_go_on(
    bench: Bench, free_port: Callable[[], int], tmp_path: Path
) -> None:
    port = free_port()
    poison = tmp_path / "poison"
    source = f"import os, sys\nif os.path.exists({str(poison)!r}): sys.exit('poisoned')\n" + LISTENER
    await bench.supervisor.start(program("abtest", port, source=source))
    poison.touch()
    process = listener_of(port)
    assert process is not None
    os.kill(process, signal.SIGTERM)
    await bench.until_said("failure 4 in a row); restart in 0.1 s")
    assert "restart failed: abtest ended with status 1 before it was ready" in bench.said
    poison.unlink()
    await bench.until_said("abtest is ready again")


async def test_a_start_that_fails_tells_the_last_lines(bench: Bench, free_port: Callable[[], int]) -> None:
    source = "import sys; print('reading settings'); sys.exit('no such zone')"
    with pytest.raises(RunError, match="analytics ended with status 1 before it was ready") as raised:
        await bench.supervisor.start(program("analytics", free_port(), source=source))
    assert raised.value.details == ("reading settings", "no such zone")


async def test_a_command_that_is_not_there_is_said_so(bench: Bench, free_port: Callable[[], int]) -> None:
    missing = Program(**{**vars(program("gateway", free_port())), "command": lambda: ["/nowhere/envoy"]})
    with pytest.raises(RunError) as raised:
        await bench.supervisor.start(missing)
    assert raised.value.details == ("cannot run /nowhere/envoy: No such file or directory",)


async def test_one_failure_ends_the_wait_for_the_rest_of_its_stage(
    bench: Bench, free_port: Callable[[], int]
) -> None:
    slow = program("slow", free_port(), source="import time; time.sleep(600)")
    broken = program("broken", free_port(), source="raise SystemExit(3)")
    async with asyncio.timeout(LIMIT_SECONDS):
        with pytest.raises(RunError, match="broken ended with status 3"):
            await bench.supervisor.start(slow, broken)


async def test_a_start_has_a_limit(tmp_path: Path, free_port: Callable[[], int]) -> None:
    bench = Bench(tmp_path, start_seconds=0.3)
    with pytest.raises(RunError, match="slow was not ready within"):
        await bench.supervisor.start(program("slow", free_port(), source="import time; time.sleep(600)"))
    await bench.supervisor.stop()


async def test_an_answer_of_a_stranger_is_not_taken_for_ours(
    bench: Bench, free_port: Callable[[], int]
) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        with pytest.raises(RunError, match=rf"port {port} \(ABTEST_PORT\) is taken by process {os.getpid()}"):
            await bench.supervisor.start(program("abtest", port, source="import time; time.sleep(600)"))


async def test_a_process_that_ignores_the_signal_is_killed(
    bench: Bench, free_port: Callable[[], int]
) -> None:
    port = free_port()
    source = LISTENER.replace("signal.signal(signal.SIGTERM, stop)", "signal.signal(signal.SIGTERM, print)")
    stubborn = program("stubborn", port, source=source)
    impatient = Program(**{**vars(stubborn), "stop_seconds": 0.2})
    await bench.supervisor.start(impatient)
    await bench.supervisor.stop()
    assert "stubborn did not stop within" in bench.said
    assert listener_of(port) is None


async def test_what_is_killed_on_purpose_is_not_restarted(bench: Bench, free_port: Callable[[], int]) -> None:
    port = free_port()
    await bench.supervisor.start(program("abtest", port))
    bench.supervisor.kill()
    async with asyncio.timeout(LIMIT_SECONDS):
        while any("_keep_running" in repr(task) for task in asyncio.all_tasks()):
            await asyncio.sleep(0.01)
    await bench.supervisor.stop()
    assert "died" not in bench.said
    assert listener_of(port) is None


async def test_the_console_shows_a_part_and_the_file_keeps_the_whole(tmp_path: Path) -> None:
    stream = io.StringIO()
    console = Console(tmp_path, stream=stream)
    child = await Child.start(
        "postgres",
        ["printf", "12:00 hidden\\n12:01 seen\\n"],
        console,
        show=lambda line: None if "hidden" in line else line.partition(" ")[2],
    )
    assert await child.wait() == 0
    assert stream.getvalue() == "postgres     | seen\n"
    assert console.log_path("postgres").read_text() == "12:00 hidden\n12:01 seen\n"


async def test_the_last_words_are_passed_on_though_what_left_the_group_holds_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_OUTPUT_SECONDS", 0.1)
    console = Console(tmp_path, stream=io.StringIO())
    source = (
        "import subprocess, sys\n"
        "left = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "sys.stdout.write(f'{left.pid}')"
    )
    child = await Child.start("parent", [sys.executable, "-c", source], console)
    assert await child.wait() == 0
    os.kill(int(child.last_lines[0]), signal.SIGKILL)


async def test_what_a_process_started_ends_with_it(tmp_path: Path) -> None:
    console = Console(tmp_path, stream=io.StringIO())
    source = (
        "import subprocess, sys, time\n"
        "print(subprocess.Popen(['sleep', '600']).pid, flush=True)\n"
        "time.sleep(600)"
    )
    child = await Child.start("parent", [sys.executable, "-c", source], console)
    async with asyncio.timeout(LIMIT_SECONDS):
        while not child.last_lines:
            await asyncio.sleep(0.01)
        grandchild = int(child.last_lines[0])
        await child.stop(signal.SIGTERM, seconds=LIMIT_SECONDS)
        while not has_ended(grandchild):
            await asyncio.sleep(0.01)
    assert child.status == -signal.SIGTERM


def test_children_end_when_the_run_is_killed(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", ORPHANING_RUN, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    with run:
        assert run.stdout is not None
        child = int(run.stdout.readline())
        assert Path(f"/proc/{child}").exists()
        run.kill()
        run.wait()
    descriptor = open_process(child)
    if descriptor is not None:
        ended, _, _ = select.select([descriptor], [], [], LIMIT_SECONDS)
        os.close(descriptor)
        assert ended
    assert has_ended(child)


async def test_progress_and_long_lines_are_passed_on(tmp_path: Path) -> None:
    stream = io.StringIO()
    console = Console(tmp_path, stream=stream)
    source = "import sys; sys.stdout.write('\\r 10%\\r 20%\\nlast' + 'x' * 200000)"
    child = await Child.start("demo", [sys.executable, "-c", source], console)
    assert await child.wait() == 0
    shown = stream.getvalue().splitlines()
    assert shown[0].endswith("| 10%") or "10%" in shown[0]
    assert any("20%" in line for line in shown)
    assert sum(line.count("x") for line in shown) == 200_000


def test_a_status_is_described_in_words() -> None:
    assert describe_status(3) == "status 3"
    assert describe_status(-9) == "signal SIGKILL"


def has_ended(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True  # reaped already


def open_process(process: int) -> int | None:
    try:
        return os.pidfd_open(process)
    except ProcessLookupError:
        return None
