"""Finding the test that a request names."""

from services.abtest.domain.changes import DefinedTest
from services.abtest.domain.model import ABTest
from services.abtest.operations.enrolment import fetch_enrolment_rules
from services.abtest.store import bandits, definitions
from services.common.database import Connection
from services.common.errors import DomainError, FieldViolation, NotFoundError


async def require_test(connection: Connection, test_id: str) -> ABTest:
    """Return a test; raise NotFoundError where there is none."""
    tests = await definitions.list_tests_by_id(connection, [test_id])
    if test_id not in tests:
        raise unknown_test(test_id)
    return tests[test_id]


async def lock_test(connection: Connection, test_id: str) -> ABTest:
    """Return a test that nothing changes or assigns to until the transaction is over.

    Raises:
        NotFoundError: there is no such test.
    """
    await definitions.lock_test(connection, test_id)
    return await require_test(connection, test_id)


async def define(connection: Connection, test: ABTest) -> DefinedTest:
    """Return a test with all that was said of it."""
    bandit = await bandits.fetch_bandit(connection, test.test_id)
    return DefinedTest(
        test=test,
        rules=await fetch_enrolment_rules(connection, test.test_id),
        bandit=None if bandit is None else bandit.design,
    )


def unknown_test(test_id: str) -> DomainError:
    """Return the error of a test_id that no test has."""
    return NotFoundError(
        f"test_id: no test {test_id!r}",
        reason="TEST_UNKNOWN",
        violations=[FieldViolation(field="test_id", description="no such test")],
        metadata={"test_id": test_id},
    )
