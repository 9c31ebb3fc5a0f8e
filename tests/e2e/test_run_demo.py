"""`make run` with demo data: loaded once, resumed when interrupted, never mixed."""

import json
import re
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.local_run import REPOSITORY, LocalRun, free_ports

SMALL = {"DEMO": "1", "DEMO_SCALE": "0.05"}


def total_of(run: LocalRun) -> int:
    """Return how many events the loader delivered, those included that were there already."""
    numbers = re.search(r"total: ([\d,]+) events accepted, ([\d,]+) known already", run.output)
    assert numbers is not None, run.output
    return sum(int(number.replace(",", "")) for number in numbers.groups())


def size_of_world(as_of: str) -> int:
    """Return how many events the small world has, by its own account."""
    command = [sys.executable, "-m", "examples.simulated_world", "summary", "--as-of", as_of]
    result = subprocess.run(
        [*command, "--scale", SMALL["DEMO_SCALE"]], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    numbers = re.search(r"([\d,]+) events, generated", result.stdout)
    assert numbers is not None, result.stdout
    return int(numbers.group(1).replace(",", ""))


def totals_of(run: LocalRun, began_at: str) -> dict[str, object]:
    """Return the sums over all campaigns; intervals come from a job and may not be there yet."""
    end = datetime.fromisoformat(began_at).date()
    days = f"start_date={end - timedelta(days=89)}&end_date={end}"
    status, body = run.get(f"/api/analytics/portfolio?{days}")
    assert status == 200
    totals = json.loads(body)["totals"]
    return {name: value for name, value in totals.items() if not name.endswith("_interval")}


def interrupt_a_load(folder: Path, ports: dict[str, str]) -> tuple[LocalRun, Path]:
    """Return a run that was stopped amid its load, and its data; where the load was over first, try again."""
    for attempt in range(5):
        with LocalRun(folder / str(attempt), **ports, **SMALL) as run:
            run.until_said("catalog: 50 merchants")
            assert run.stop() == 0
        if "loaded the simulated world" not in run.output:
            return run, folder / str(attempt)
    pytest.fail("no load lasts until it is interrupted")


def test_an_interrupted_demo_is_completed_once_and_then_kept(tmp_path: Path) -> None:
    ports = free_ports()
    interrupted, folder = interrupt_a_load(tmp_path, ports)
    assert interrupted.output.count("stopping; the load continues at the next make run") == 1
    assert "STATEMENT:" not in interrupted.output
    begun = json.loads((folder / "demo.json").read_text())
    assert begun["complete"] is False

    with LocalRun(folder, **ports, **SMALL) as resumed:
        resumed.until_ready()
        assert total_of(resumed) == size_of_world(begun["began_at"])
        assert "note: job" not in resumed.output
        portfolio = totals_of(resumed, begun["began_at"])
        assert int(str(portfolio["impressions"])) > 0
        assert "trained in" in resumed.output or "no model is trained" in resumed.output
        assert "%|" in resumed.output
        resumed.stop(signal.SIGINT)

    with LocalRun(folder, **ports, **SMALL) as kept:
        kept.until_ready()
        assert "loading" not in kept.output
        assert "training" not in kept.output or "no model is trained" in kept.output
        assert totals_of(kept, begun["began_at"]) == portfolio

    with LocalRun(folder, **ports, DEMO="complete-journey") as other:
        assert other.wait() == 1
    (line,) = other.lines
    assert "DEMO=1" in line
    assert "make clean-data" in line
