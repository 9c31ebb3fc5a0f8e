"""The job that measures outcomes: what it says, and that what cannot be measured holds up nothing else."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from services.common.database import Connection, Database
from services.common.errors import InternalError, UnavailableError
from services.common.job_table import Cursor
from services.common.jobs import JobContext
from services.optimizer.domain.recommendations.recommendations import Recommendation
from services.optimizer.operations import offer_outcomes
from services.optimizer.operations.offer_outcomes import OutcomeKeeper, build_outcomes_job
from services.optimizer.store.offer_outcomes import EndedTest
from tests.contract.optimizer.recommendation_stand import DAY, Closed, decision, end_test


async def run_job(closed: Closed, *, statement_seconds: float = 30.0) -> str:
    """What a run of the job says of itself."""
    database = await Database.open(
        closed.addresses.optimizer, application_name="test", statement_timeout_seconds=statement_seconds
    )

    async def save(_cursor: Cursor) -> None:
        raise AssertionError("the job needs no cursor")

    try:
        job = build_outcomes_job(OutcomeKeeper(database, now=closed.clock), seconds=60.0)
        assert (job.name, str(job.schedule)) == ("outcomes", "every 60 s")
        return await job.run(JobContext(job_name=job.name, cursor={}, save=save))
    finally:
        await database.close()


async def test_the_job_says_what_it_did(closed: Closed) -> None:
    await closed.offer()
    closed.clock.now += 15 * DAY
    assert await run_job(closed) == "1 expired, 0 outcomes measured, 0 tests kept"


async def apply_twice(closed: Closed) -> tuple[str, str]:
    """The ids of two applied offers: one of CAMPAIGN, and a copy of it of campaign-1."""
    offer = await closed.offer()
    await decision(closed.stub, "MarkRecommendationApplied", recommendation_id=offer.recommendation_id)
    columns = (
        "optimization_type, status, recommendation, evidence, expected_improvement, confidence, model_name,"
        " model_version, created_at, expires_at, decided_at, inputs_key, choice, refreshed_at, applied_at"
    )
    copied = str(uuid4())
    await closed.execute(
        f"insert into optimizer.campaign_optimizations (optimization_id, campaign_id, {columns})"
        f" select $1, 'campaign-1', {columns} from optimizer.campaign_optimizations where status = 'applied'",
        copied,
    )
    return offer.recommendation_id, copied


@pytest.mark.parametrize("trouble", ["slow", "defect"])
async def test_an_outcome_that_cannot_be_measured_holds_up_no_other(
    closed: Closed, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    broken, whole = await apply_twice(closed)
    started_at = datetime(2027, 1, 4, 12, tzinfo=UTC)
    for name in ("t0", "t1"):
        await end_test(closed, name, started_at)
    closed.clock.now = started_at + 6 * DAY

    async def meet_trouble(connection: Connection) -> None:
        if trouble == "defect":
            raise ZeroDivisionError
        await connection.execute("set local statement_timeout = '50ms'")
        await connection.execute("select pg_sleep(60)")

    async def measure(connection: Connection, kept: Recommendation, *rest: Any) -> Any:  # noqa: ANN401
        if kept.recommendation_id == broken:
            await meet_trouble(connection)
        return await measure_well(connection, kept, *rest)

    async def measure_test(connection: Connection, test: EndedTest, *rest: Any) -> Any:  # noqa: ANN401
        if test.test_id == "t0":
            await meet_trouble(connection)
        return await measure_test_well(connection, test, *rest)

    measure_well, measure_test_well = offer_outcomes._measure, offer_outcomes._measure_test
    with monkeypatch.context() as patch:
        patch.setattr(offer_outcomes, "_measure", measure)
        patch.setattr(offer_outcomes, "_measure_test", measure_test)
        with pytest.raises(InternalError) as told:
            await run_job(closed)
        assert told.value.message == (
            "0 expired, 1 outcomes measured, 1 tests kept; not measured, and tried again later:"
            f" {broken}, t0/variant (see the log)"
        )
    assert {each.source_id for each in (await closed.outcomes()).outcomes} == {whole, "t1"}
    assert await run_job(closed) == "0 expired, 0 outcomes measured, 1 tests kept"
    closed.clock.now += DAY
    assert await run_job(closed) == "0 expired, 1 outcomes measured, 0 tests kept"  # the other was final
    assert {each.source_id for each in (await closed.outcomes()).outcomes} == {broken, whole, "t0", "t1"}


async def test_an_outcome_that_somebody_holds_is_tried_by_the_next_run(closed: Closed) -> None:
    held, _ = await apply_twice(closed)
    closed.clock.now += DAY
    holder = await asyncpg.connect(closed.addresses.admin)
    try:
        async with holder.transaction():
            await holder.execute(
                "select 1 from optimizer.campaign_optimizations where optimization_id = $1 for update", held
            )
            with pytest.raises(InternalError, match=f"1 outcomes measured.*: {held}"):
                await run_job(closed, statement_seconds=4.0)
    finally:
        await holder.close()
    assert await run_job(closed) == "0 expired, 1 outcomes measured, 0 tests kept"


async def test_a_database_that_is_away_ends_the_run(closed: Closed, monkeypatch: pytest.MonkeyPatch) -> None:
    await apply_twice(closed)
    closed.clock.now += DAY

    async def lose(*_: object) -> None:
        raise UnavailableError("away", reason="DATABASE_UNAVAILABLE")

    monkeypatch.setattr(offer_outcomes, "_measure", lose)
    with pytest.raises(UnavailableError):
        await run_job(closed)
