"""One pool of PostgreSQL connections per process; where asyncpg's errors become ours, once."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Literal, TypeAlias

import asyncpg

from services.common.errors import (
    AbortedError,
    ConstraintViolation,
    DeadlineExceededError,
    FailedPreconditionError,
    UnavailableError,
)

IsolationLevel = Literal["read_committed", "repeatable_read", "serializable"]
# A string, because this class takes parameters in its stubs only.
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

_LISTENING_SECONDS = 5.0
"""How long the other end of a listening connection may take to answer."""
_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ConnectionDoesNotExistError,
)
_FULL = (asyncpg.DiskFullError, asyncpg.OutOfMemoryError)
_COLLIDED = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError)
_UNUSABLE = (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError, ssl.SSLError)


@contextmanager
def translate_driver_errors() -> Iterator[None]:
    """Turn what asyncpg raises in this block into our errors.

    A lost connection or a full disk is UNAVAILABLE, a collision of transactions ABORTED, a statement over its
    time DEADLINE_EXCEEDED, and a constraint a `ConstraintViolation` by its name. What remains is a defect of
    ours and passes as it is.
    """
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        raise ConstraintViolation(str(getattr(error, "constraint_name", "") or "")) from error
    except _COLLIDED as error:
        raise AbortedError(
            "the work collided with concurrent work; send the request again", reason="CONCURRENT_UPDATE"
        ) from error
    except (asyncpg.QueryCanceledError, TimeoutError) as error:
        raise DeadlineExceededError(
            "the database did not finish in time", reason="DATABASE_DEADLINE_EXCEEDED"
        ) from error
    except _UNUSABLE as error:
        raise FailedPreconditionError(
            "the database refuses this service's role; the operator must check its address and password",
            reason="DATABASE_ACCESS_REFUSED",
        ) from error
    except asyncpg.InternalClientError as error:
        # What a statement finds on a connection whose end asyncpg has not taken notice of yet.
        if "cannot switch to state" not in str(error):
            raise
        raise _unavailable() from error
    except asyncpg.InterfaceError as error:
        # The pool takes a connection back by itself once it has noticed its end.
        if not any(word in str(error) for word in ("closed", "closing", "released back to the pool")):
            raise
        raise _unavailable() from error
    except (*_LOST, *_FULL) as error:
        raise (_full() if isinstance(error, _FULL) else _unavailable()) from error


def _unavailable() -> UnavailableError:
    return UnavailableError("the database does not answer; try again shortly", reason="DATABASE_UNAVAILABLE")


def _full() -> UnavailableError:
    return UnavailableError(
        "the database is out of disk space or memory, of which its operator must give it more",
        reason="DATABASE_UNAVAILABLE",
    )


async def _keep_session(_connection: "asyncpg.Connection[Any]") -> None:
    """Do without asyncpg's own reset, which asks the server once more whenever a connection is given back.

    It costs as much as a read. A transaction left open is rolled back all the same; settings of the session,
    session locks and LISTEN are not for connections of the pool.
    """


@asynccontextmanager
async def savepoint(connection: Connection) -> AsyncIterator[None]:
    """Undo the block alone where it fails, so that the transaction around it can go on."""
    with translate_driver_errors():
        async with connection.transaction():
            yield


def is_lost(connection: Connection) -> bool:
    """Return whether a connection has ended, and with it its transaction and its locks."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # the pool has taken it back already
        return True


def _is_unfit(connection: Connection) -> bool:
    """Return whether a connection ended or is in the middle of something; the pool knows what to do then."""
    return is_lost(connection) or connection.is_in_transaction()


class Database:
    """A pool of connections to one database under one role.

    What is set in a session would stay for the next who is given its connection: settings and locks are for
    transactions (`set local`, `pg_advisory_xact_lock`), and LISTEN has a connection of its own (`listen`).

    Args (of `open`):
        url: the PostgreSQL address of the service's own role.
        application_name: shown in pg_stat_activity.
        min_size, max_size: connections kept and allowed; a request over `max_size` waits for one.
        statement_timeout_seconds: the longest one statement may take.
        mark_write: a statement that ends every transaction that may write; the last, so that what it locks is
            locked only while the transaction commits.
    """

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        options: Mapping[str, Any],
        *,
        mark_write: str | None = None,
    ) -> None:
        self._pool = pool
        self._options = options
        self._mark_write = mark_write
        # Connections that were given back whole, for the next to take; the pool counts them as lent.
        self._at_hand: list[Connection] = []
        self._waiting = 0

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        application_name: str,
        min_size: int = 1,
        max_size: int = 8,
        statement_timeout_seconds: float = 30.0,
        mark_write: str | None = None,
    ) -> "Database":
        """Connect; raises UNAVAILABLE or FAILED_PRECONDITION where the database cannot be used."""
        options: dict[str, Any] = {
            "dsn": url,
            "timeout": 10.0,
            "server_settings": {
                "application_name": application_name,
                "timezone": "UTC",
                "statement_timeout": str(int(statement_timeout_seconds * 1000)),
            },
        }
        with translate_driver_errors():
            pool = await asyncpg.create_pool(
                min_size=min_size, max_size=max_size, reset=_keep_session, **options
            )
        return cls(pool, options, mark_write=mark_write)

    async def close(self) -> None:
        """Wait for work under way and close every connection."""
        self._waiting += 1  # nothing stays at hand any more
        while self._at_hand:
            await self._pool.release(self._at_hand.pop())
        await self._pool.close()

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """Yield a connection outside any transaction: for one statement that is its own."""
        with translate_driver_errors():
            async with self._borrow() as connection:
                yield connection

    @asynccontextmanager
    async def transaction(
        self, *, isolation: IsolationLevel = "read_committed", readonly: bool = False
    ) -> AsyncIterator[Connection]:
        """Yield a connection in a transaction that commits at the end of the block, or rolls back.

        Beyond `read_committed` a write is marked after the commit, because the mark changes while such a
        transaction runs.
        """
        mark = None if readonly else self._mark_write
        with translate_driver_errors():
            async with self._borrow() as connection:
                async with connection.transaction(isolation=isolation, readonly=readonly):
                    yield connection
                    if mark is not None and isolation == "read_committed":
                        await connection.fetch(mark)
                if mark is not None and isolation != "read_committed":
                    await connection.fetch(mark)

    @asynccontextmanager
    async def _borrow(self) -> AsyncIterator[Connection]:
        """Yield a connection; one that broke does not go back, even before its end is noticed.

        One that comes back whole stays at hand unless somebody waits for the pool, because handing it to the
        pool and asking for it again costs a task of its own.
        """
        connection = await self._take()
        try:
            yield connection
        except BaseException as error:
            if isinstance(error, (*_LOST, asyncpg.InterfaceError, asyncpg.InternalClientError)):
                # The pool takes a connection back by itself once it has noticed its end.
                with suppress(asyncpg.InterfaceError):
                    connection.terminate()
            await self._pool.release(connection)
            raise
        if self._waiting or _is_unfit(connection):
            await self._pool.release(connection)
        else:
            self._at_hand.append(connection)

    async def _take(self) -> Connection:
        while self._at_hand:
            connection = self._at_hand.pop()
            if not _is_unfit(connection):
                return connection
            await self._pool.release(connection)
        self._waiting += 1
        try:
            return await self._pool.acquire()
        finally:
            self._waiting -= 1

    @asynccontextmanager
    async def listen(self, channel: str, hear: Callable[[str], None]) -> AsyncIterator["Listening"]:
        """Yield a connection of its own, beside the pool, that hands what `channel` brings to `hear`."""
        with translate_driver_errors():
            connection = await asyncpg.connect(**self._options)
            try:
                await connection.add_listener(channel, lambda *heard: hear(str(heard[-1])))
                yield Listening(connection, channel)
            finally:
                await _close(connection)

    async def ping(self) -> None:
        """Raise UNAVAILABLE where the database does not answer."""
        async with self.acquire() as connection:
            await connection.fetchval("select 1", timeout=5.0)


class Listening:
    """A connection that hears what is sent on a channel, and sends on it; one caller at a time.

    `lost` is set when the connection has ended, by whatever it was.
    """

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", channel: str) -> None:
        self._connection = connection
        self._channel = channel
        self.lost = asyncio.Event()
        connection.add_termination_listener(lambda _connection: self.lost.set())

    async def send(self, payload: str) -> None:
        """Send less than 8000 bytes to everybody who listens, this connection included."""
        await self._connection.execute(
            "select pg_notify($1, $2)", self._channel, payload, timeout=_LISTENING_SECONDS
        )

    async def check(self) -> None:
        """Raise unless the other end still answers: a connection may be lost without a word."""
        await self._connection.fetchval("select 1", timeout=_LISTENING_SECONDS)


async def _close(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Close a connection that may be lost: say goodbye if that is quick."""
    try:
        await connection.close(timeout=1.0)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()
