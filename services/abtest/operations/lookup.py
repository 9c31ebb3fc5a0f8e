"""Finding the test that a request names."""

from services.abtest.domain.model import ABTest
from services.abtest.store import definitions
from services.common.database import Connection
from services.common.errors import DomainError, FieldViolation, NotFoundError


async def require_test(connection: Connection, test_id: str) -> ABTest:
    """Return a test; raise NotFoundError where there is none."""
    tests = await definitions.list_tests_by_id(connection, [test_id])
    if test_id not in tests:
        raise unknown_test(test_id)
    return tests[test_id]


def unknown_test(test_id: str) -> DomainError:
    """Return the error of a test_id that no test has."""
    return NotFoundError(
        f"test_id: no test {test_id!r}",
        reason="TEST_UNKNOWN",
        violations=[FieldViolation(field="test_id", description="no such test")],
        metadata={"test_id": test_id},
    )
