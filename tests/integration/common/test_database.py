"""The pool against a real PostgreSQL: what its driver raises reaches us in our own words."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common.database import Database, translate_driver_errors
from services.common.errors import (
    AbortedError,
    ConstraintViolation,
    DeadlineExceededError,
    DomainError,
    FailedPreconditionError,
    UnavailableError,
)

LIMIT_SECONDS = 120


@pytest.fixture
async def pool(database: DatabaseAddresses) -> AsyncIterator[Database]:
    pool = await Database.open(
        database.admin, application_name="test", max_size=4, statement_timeout_seconds=LIMIT_SECONDS
    )
    async with pool.acquire() as connection:
        await connection.execute(
            "create table public.things ("
            " id int constraint things_pkey primary key, n int constraint things_n_check check (n > 0))"
        )
    yield pool
    await pool.close()


async def count(pool: Database) -> int:
    async with pool.transaction(readonly=True) as connection:
        return int(await connection.fetchval("select count(*) from public.things"))


async def test_a_transaction_commits_at_its_end_and_rolls_back_on_an_error(pool: Database) -> None:
    async with pool.transaction() as connection:
        await connection.execute("insert into public.things values (1, 1)")
    with pytest.raises(RuntimeError):
        async with pool.transaction() as connection:
            await connection.execute("insert into public.things values (2, 1)")
            raise RuntimeError
    assert await count(pool) == 1


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("insert into public.things values (1, 1), (1, 1)", "things_pkey"),
        ("insert into public.things values (3, 0)", "things_n_check"),
    ],
)
async def test_a_constraint_is_told_by_its_name(pool: Database, statement: str, constraint: str) -> None:
    with pytest.raises(ConstraintViolation) as caught:
        async with pool.transaction() as connection:
            await connection.execute(statement)
    assert caught.value.constraint == constraint


async def test_a_statement_over_its_time_is_deadline_exceeded(database: DatabaseAddresses) -> None:
    pool = await Database.open(database.admin, application_name="test", statement_timeout_seconds=1)
    with pytest.raises(DeadlineExceededError):
        async with pool.acquire() as connection:
            await connection.execute("select pg_sleep(300)")
    await pool.close()


async def test_a_collision_of_transactions_is_aborted(pool: Database) -> None:
    async with pool.transaction() as connection:
        await connection.execute("insert into public.things values (1, 1)")
    with pytest.raises(AbortedError):
        async with (
            pool.transaction(isolation="repeatable_read") as first,
            pool.transaction(isolation="repeatable_read") as second,
        ):
            await first.fetchval("select n from public.things")
            await second.execute("update public.things set n = 2")
            await second.execute("commit")
            await first.execute("update public.things set n = 3")


async def test_a_lost_connection_is_unavailable_and_the_pool_recovers(pool: Database) -> None:
    with pytest.raises(UnavailableError):
        async with pool.acquire() as victim, pool.acquire() as killer:
            await killer.execute(
                "select pg_terminate_backend($1, 120000)", await victim.fetchval("select pg_backend_pid()")
            )
            await victim.fetchval("select 1")
    await pool.ping()


async def test_a_connection_lost_in_the_middle_of_a_transaction_is_unavailable(pool: Database) -> None:
    for _ in range(5):  # whether the pool or the statement notices first is chance
        with pytest.raises(UnavailableError):
            async with pool.transaction() as connection:
                await connection.fetchval("select pg_terminate_backend(pg_backend_pid())")
    async with pool.transaction() as connection:
        assert await connection.fetchval("select 1") == 1


async def test_giving_a_connection_back_asks_the_server_nothing(
    pool: Database, database: DatabaseAddresses
) -> None:
    async with pool.acquire() as connection:
        pid = await connection.fetchval("select pg_backend_pid()")
        await connection.fetchval("select 'the last of mine'")
    observer = await asyncpg.connect(database.admin)
    try:
        said = await observer.fetchval("select query from pg_stat_activity where pid = $1", pid)
    finally:
        await observer.close()
    assert said == "select 'the last of mine'"


async def fetch_pid(pool: Database) -> int:
    async with pool.acquire() as connection:
        return int(await connection.fetchval("select pg_backend_pid()"))


async def test_a_connection_stays_at_hand_until_it_ends(pool: Database, database: DatabaseAddresses) -> None:
    pid = await fetch_pid(pool)
    assert await fetch_pid(pool) == pid
    with pytest.raises(RuntimeError):
        async with pool.acquire():
            raise RuntimeError
    killer = await asyncpg.connect(database.admin)
    try:
        assert await killer.fetchval("select pg_terminate_backend($1, 120000)", pid)
    finally:
        await killer.close()
    with suppress(UnavailableError):  # where nobody has read yet that it ended
        await fetch_pid(pool)
    assert await fetch_pid(pool) != pid


async def test_who_waits_gets_the_connection_that_comes_back(pool: Database) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(pool.acquire())
        async with pool.acquire():
            waiting = asyncio.create_task(fetch_pid(pool))
            await asyncio.sleep(0.05)
            assert not waiting.done()
        assert await asyncio.wait_for(waiting, timeout=LIMIT_SECONDS) > 0


async def test_a_transaction_left_open_is_rolled_back(pool: Database) -> None:
    async with pool.acquire() as connection:
        await connection.execute("begin; insert into public.things values (7, 7)")
    assert await count(pool) == 0


async def test_nobody_listening_is_unavailable(database: DatabaseAddresses) -> None:
    nowhere = "postgresql://someone:secret@127.0.0.1:1/merchants_db"
    with pytest.raises(UnavailableError) as caught:
        await Database.open(nowhere, application_name="test")
    assert "secret" not in caught.value.message


async def test_a_wrong_password_names_the_remedy(database: DatabaseAddresses) -> None:
    wrong = database.analytics.replace("://analytics:", "://analytics:x")
    with pytest.raises(FailedPreconditionError, match="address and password"):
        await Database.open(wrong, application_name="test")


async def test_work_over_the_pools_size_waits_for_a_connection(pool: Database) -> None:
    async def work() -> int:
        async with pool.acquire() as connection:
            return int(await connection.fetchval("select 1"))

    assert await asyncio.gather(*(work() for _ in range(40))) == [1] * 40


@pytest.mark.parametrize(
    ("raised", "translated"),
    [
        (asyncpg.InterfaceError("pool is closing"), UnavailableError),
        (asyncpg.InterfaceError("connection has been released back to the pool"), UnavailableError),
        (asyncpg.TooManyConnectionsError("no"), UnavailableError),
        (asyncpg.DiskFullError("could not extend file"), UnavailableError),
        (ConnectionResetError(), UnavailableError),
        (
            asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"),
            UnavailableError,
        ),
        (TimeoutError(), DeadlineExceededError),
        (asyncpg.DeadlockDetectedError("no"), AbortedError),
    ],
)
def test_driver_errors_change_vocabulary_once(raised: Exception, translated: type[DomainError]) -> None:
    with pytest.raises(translated), translate_driver_errors():
        raise raised


@pytest.mark.parametrize(
    "defect",
    [asyncpg.InterfaceError("wrong use"), asyncpg.InternalClientError("x"), asyncpg.UndefinedTableError("x")],
)
def test_a_defect_of_ours_stays_what_it_is(defect: Exception) -> None:
    with pytest.raises(type(defect)), translate_driver_errors():
        raise defect


async def test_every_write_is_marked_and_no_read(database: DatabaseAddresses, pool: Database) -> None:
    """Beyond read committed the mark follows the commit: it would collide with every other one."""
    async with pool.acquire() as connection:
        await connection.execute("create table public.marks (n int); insert into public.marks values (0)")
    marking = await Database.open(
        database.admin, application_name="test", mark_write="update public.marks set n = n + 1"
    )

    async def marks() -> int:
        async with pool.acquire() as connection:
            return int(await connection.fetchval("select n from public.marks"))

    async with marking.transaction(readonly=True) as connection:
        await connection.fetchval("select count(*) from public.things")
    async with marking.acquire() as connection:
        await connection.fetchval("select 1")
    with pytest.raises(RuntimeError):
        async with marking.transaction() as connection:
            raise RuntimeError
    assert await marks() == 0
    async with marking.transaction() as connection:
        await connection.execute("insert into public.things values (1, 1)")
    assert await marks() == 1
    async with marking.transaction(isolation="repeatable_read") as connection:
        await connection.execute("insert into public.things values (2, 1)")
        async with marking.transaction() as other:
            await other.execute("insert into public.things values (3, 1)")
    assert await marks() == 3
    await marking.close()
