"""The process that keeps users' merchants, and its jobs."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import pytest

from services.common.errors import FailedPreconditionError
from services.common.jobs import JobContext, NotYetError
from services.optimizer.affinity_process import AffinityProcess
from services.optimizer.operations.affinity import AffinityOperations
from services.optimizer.operations.affinity_jobs import build_affinity_jobs

SETTINGS = {"OPTIMIZER_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}


async def test_what_was_done_is_returned(stand_in: Callable[[str, str], None]) -> None:
    stand_in(
        "affinity_training",
        "import json, os, sys\n"
        "print(json.dumps({'stage': 'fit', 'fraction': 0.2}))\n"
        "print(json.dumps({'result': ' '.join([*sys.argv[1:], os.environ['OPTIMIZER_DATABASE_URL']])}))\n",
    )
    process = AffinityProcess(database_url="postgresql://x", timeout_seconds=300.0)
    assert await process.run("refresh") == "refresh postgresql://x"


def test_the_process_says_what_it_cannot_do() -> None:
    """Without a database: refused as unavailable, in a line that the parent understands."""
    ended = subprocess.run(
        [sys.executable, "-m", "services.optimizer.affinity_training", "refresh"],
        stdin=subprocess.DEVNULL,
        env={**os.environ, **SETTINGS},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 3
    assert '"code": "UNAVAILABLE"' in ended.stdout


@dataclass
class Worker:
    """Remembers what it was asked."""

    asked: list[str] = field(default_factory=list)

    async def run(self, work: Literal["fit", "refresh"]) -> str:
        self.asked.append(work)
        return f"{work} done"


@dataclass
class News:
    """Stands for the operations: whether anything came in."""

    is_new: bool

    async def is_anything_new(self) -> bool:
        return self.is_new


async def run_jobs(*, is_new: bool) -> tuple[list[str], list[str]]:
    async def save(_cursor: Mapping[str, Any]) -> None:
        raise AssertionError("these jobs need no cursor")

    worker = Worker()
    jobs = build_affinity_jobs(
        cast("AffinityOperations", News(is_new=is_new)), worker, fit_seconds=86_400, refresh_seconds=300
    )
    assert [(job.name, str(job.schedule)) for job in jobs] == [
        ("affinity_model", "every 86400 s"),
        ("affinity", "every 300 s"),
    ]
    said = [await job.run(JobContext(job_name=job.name, cursor={}, save=save)) for job in jobs]
    return worker.asked, said


@dataclass(frozen=True)
class Refusing:
    """Refuses every fit for a reason."""

    reason: str

    async def run(self, work: Literal["fit", "refresh"]) -> str:
        raise FailedPreconditionError("28 days are needed (there are 3)", reason=self.reason)


@pytest.mark.parametrize(
    ("reason", "raised", "said"),
    [
        ("DATA_INSUFFICIENT", NotYetError, "too little data yet: 28 days are needed (there are 3)"),
        ("MIGRATION_MISSING", FailedPreconditionError, "28 days are needed (there are 3)"),
    ],
)
async def test_too_little_data_is_no_failure(reason: str, raised: type[Exception], said: str) -> None:
    async def save(_cursor: Mapping[str, Any]) -> None:
        raise AssertionError("this job needs no cursor")

    fit, _ = build_affinity_jobs(
        cast("AffinityOperations", News(is_new=True)),
        Refusing(reason),
        fit_seconds=86_400,
        refresh_seconds=300,
    )
    with pytest.raises(raised) as caught:
        await fit.run(JobContext(job_name=fit.name, cursor={}, save=save))
    assert str(caught.value) == said


async def test_the_jobs_start_no_process_where_nothing_came_in() -> None:
    assert await run_jobs(is_new=True) == (["fit", "refresh"], ["fit done", "refresh done"])
    assert await run_jobs(is_new=False) == (["fit"], ["fit done", "nothing came in"])
