"""How far tests are."""

from services.abtest.domain.progress import TestProgress, measure_progress
from services.abtest.operations.lookup import require_test
from services.abtest.store import assignments
from services.common.database import Database


class ProgressOperations:
    """Tells how far tests are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def fetch_progress(self, test_id: str) -> TestProgress:
        """Return how far a test is, at a cost that its size does not change.

        Raises:
            NotFoundError: there is no such test.
        """
        async with self._database.transaction(readonly=True) as connection:
            test = await require_test(connection, test_id)
            counted = await assignments.list_group_users(connection, test_id)
        users = tuple(counted.get(index, 0) for index in range(len(test.design.groups)))
        return measure_progress(test, users)
