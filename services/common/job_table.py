"""The table `jobs` of a service's schema: one row per job, with its lease and what its last run said."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.common.database import Connection
from services.common.statements import load_statements

STATEMENTS = load_statements("services.common")
ABANDONED = "the replica that ran it was lost"
"""The error of a run that neither finished nor kept its lease."""

Cursor = Mapping[str, Any]
"""What a job keeps to resume from; anything that JSON holds."""


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """A job as operators see it; times are None before the first of their kind.

    `lease_holder` is the run under way, until `lease_until` at least; a lease whose time is over belongs to a
    lost replica. `last_error` is empty unless the last run failed.
    """

    job_name: str
    schedule: str
    next_run_at: datetime
    lease_until: datetime | None
    lease_holder: str | None
    last_started_at: datetime | None
    last_finished_at: datetime | None
    last_succeeded_at: datetime | None
    last_result: str
    last_error: str
    consecutive_failures: int
    run_count: int


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A lease taken: the run of a job, and where an unfinished run before it came to."""

    job_name: str
    run_id: str
    cursor: dict[str, Any]
    consecutive_failures: int


async def register_job(connection: Connection, job_name: str, schedule: str, first_due_at: datetime) -> None:
    """Keep a job; one that is known keeps its times."""
    await connection.execute(STATEMENTS["register_job"].sql, job_name, schedule, first_due_at)


async def fetch_database_time(connection: Connection) -> datetime:
    """Return what time it is for the database, and so for every replica."""
    now: datetime = await connection.fetchval(STATEMENTS["fetch_database_time"].sql)
    return now


async def claim_job(
    connection: Connection, job_names: Sequence[str], run_id: str, now: datetime, lease_until: datetime
) -> Claim | None:
    """Take the lease of the job that is due longest; None where none of them is due and free."""
    row = await connection.fetchrow(
        STATEMENTS["claim_job"].sql, list(job_names), run_id, now, lease_until, ABANDONED
    )
    if row is None:
        return None
    return Claim(
        job_name=row["job_name"],
        run_id=run_id,
        cursor=json.loads(row["cursor"]),
        consecutive_failures=row["consecutive_failures"],
    )


async def renew_lease(
    connection: Connection, claim: Claim, lease_until: datetime, cursor: Cursor | None = None
) -> bool:
    """Keep the lease, and the cursor if there is one; False where the lease is lost."""
    text = None if cursor is None else json.dumps(dict(cursor))
    return await _changes(connection, "renew_lease", claim, lease_until, text)


async def finish_job(
    connection: Connection, claim: Claim, now: datetime, result: str, next_run_at: datetime
) -> bool:
    """End a run well; False where its lease is lost."""
    return await _changes(connection, "finish_job", claim, now, result, next_run_at)


async def fail_job(
    connection: Connection, claim: Claim, now: datetime, error: str, next_run_at: datetime
) -> bool:
    """End a run badly; False where its lease is lost."""
    return await _changes(connection, "fail_job", claim, now, error, next_run_at)


async def release_job(connection: Connection, claim: Claim) -> bool:
    """Give a lease back; the job stays due with its cursor."""
    return await _changes(connection, "release_job", claim)


async def request_job(connection: Connection, job_name: str, now: datetime) -> JobRecord | None:
    """Have a job due now, again if it runs just now; None for an unknown one."""
    row = await connection.fetchrow(STATEMENTS["request_job"].sql, job_name, now)
    return None if row is None else JobRecord(**dict(row))


async def list_jobs(connection: Connection, job_names: Sequence[str]) -> Sequence[JobRecord]:
    """Return jobs by name; those not registered yet are absent."""
    rows = await connection.fetch(STATEMENTS["list_jobs"].sql, list(job_names))
    return [JobRecord(**dict(row)) for row in rows]


async def _changes(connection: Connection, statement: str, claim: Claim, *arguments: object) -> bool:
    sql = STATEMENTS[statement].sql
    return await connection.fetchval(sql, claim.job_name, claim.run_id, *arguments) is not None
