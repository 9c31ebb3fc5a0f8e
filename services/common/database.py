"""One pool of PostgreSQL connections per process; where asyncpg's errors become ours, once."""

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Literal, TypeAlias

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

_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ConnectionDoesNotExistError,
)
_COLLIDED = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError)
_UNUSABLE = (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError, ssl.SSLError)


@contextmanager
def translate_driver_errors() -> Iterator[None]:
    """Turn what asyncpg raises in this block into our errors.

    A lost connection is UNAVAILABLE, a collision of transactions ABORTED, a statement over its time
    DEADLINE_EXCEEDED, and a constraint a `ConstraintViolation` by its name. What remains is a defect of ours
    and passes as it is.
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
        if "closed" not in str(error) and "closing" not in str(error):
            raise
        raise _unavailable() from error
    except _LOST as error:
        raise _unavailable() from error


def _unavailable() -> UnavailableError:
    return UnavailableError("the database does not answer; try again shortly", reason="DATABASE_UNAVAILABLE")


class Database:
    """A pool of connections to one database under one role.

    Args (of `open`):
        url: the PostgreSQL address of the service's own role.
        application_name: shown in pg_stat_activity.
        min_size, max_size: connections kept and allowed; a request over `max_size` waits for one.
        statement_timeout_seconds: the longest one statement may take.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        application_name: str,
        min_size: int = 1,
        max_size: int = 8,
        statement_timeout_seconds: float = 30.0,
    ) -> "Database":
        """Connect; raises UNAVAILABLE or FAILED_PRECONDITION where the database cannot be used."""
        with translate_driver_errors():
            pool = await asyncpg.create_pool(
                url,
                min_size=min_size,
                max_size=max_size,
                timeout=10.0,
                server_settings={
                    "application_name": application_name,
                    "timezone": "UTC",
                    "statement_timeout": str(int(statement_timeout_seconds * 1000)),
                },
            )
        return cls(pool)

    async def close(self) -> None:
        """Wait for work under way and close every connection."""
        await self._pool.close()

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """Yield a connection outside any transaction: for LISTEN, or one statement that is its own."""
        with translate_driver_errors():
            async with self._pool.acquire() as connection:
                yield connection

    @asynccontextmanager
    async def transaction(
        self, *, isolation: IsolationLevel = "read_committed", readonly: bool = False
    ) -> AsyncIterator[Connection]:
        """Yield a connection in a transaction that commits at the end of the block, or rolls back."""
        with translate_driver_errors():
            async with (
                self._pool.acquire() as connection,
                connection.transaction(isolation=isolation, readonly=readonly),
            ):
                yield connection

    async def ping(self) -> None:
        """Raise UNAVAILABLE where the database does not answer."""
        async with self.acquire() as connection:
            await connection.fetchval("select 1", timeout=5.0)
