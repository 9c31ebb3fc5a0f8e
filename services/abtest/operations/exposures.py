"""Recording who saw what the group sees, and telling it by source."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.abtest.domain.exposures import (
    Exposure,
    ExposureRejection,
    SourceExposures,
    earliest_exposures,
    judge_exposure,
)
from services.abtest.domain.model import ABTest
from services.abtest.operations.lookup import require_test
from services.abtest.store import assignments, exposures
from services.common.database import Database


@dataclass(frozen=True, kw_only=True)
class RecordedExposures:
    """What became of a batch: `accepted` are a source's first of a user and test, the others were known."""

    accepted: int
    duplicates: int
    rejections: tuple[ExposureRejection, ...]


class ExposureOperations:
    """Records exposures and counts them.

    Args:
        database: the service's own.
        now: the clock; aware times.
        slot: which slot of the counters this process counts in.
    """

    def __init__(self, database: Database, *, now: Callable[[], datetime], slot: int) -> None:
        self._database = database
        self.now = now
        self._slot = slot

    async def record_exposures(self, batch: Sequence[Exposure]) -> RecordedExposures:
        """Record a batch in one transaction; what is wrong with one exposure keeps no other from being kept.

        The same exposures again are duplicates. Of one user, test and source the earliest time is kept,
        whatever order they come in.
        """
        async with self._database.transaction() as connection:
            keys = sorted({(exposure.test_id, exposure.user_id) for exposure in batch})
            assigned = await assignments.list_assignments(connection, keys)
            unassigned = {exposure.test_id for exposure in batch} - {test_id for test_id, _ in assigned}
            known = await exposures.list_known_tests(connection, sorted(unassigned)) if unassigned else set()
            now = self.now()
            judged = [
                judge_exposure(
                    index,
                    exposure,
                    assigned.get((exposure.test_id, exposure.user_id)),
                    is_known=exposure.test_id not in unassigned or exposure.test_id in known,
                    now=now,
                )
                for index, exposure in enumerate(batch)
            ]
            good = [exposure for exposure, wrong in zip(batch, judged, strict=True) if wrong is None]
            first = earliest_exposures(good)
            groups = [assigned[(exposure.test_id, exposure.user_id)].group_index for exposure in first]
            added = (
                await exposures.insert_exposures(connection, first, groups, slot=self._slot)
                if first
                else set()
            )
        return RecordedExposures(
            accepted=len(added),
            duplicates=len(good) - len(added),
            rejections=tuple(wrong for wrong in judged if wrong is not None),
        )

    async def list_exposures(self, test_id: str) -> tuple[ABTest, list[SourceExposures]]:
        """Return a test and how many users of each group every source exposed, from counters.

        Raises:
            NotFoundError: there is no such test.
        """
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            test = await require_test(connection, test_id)
            users = await assignments.list_group_users(connection, test_id)
            by_source = await exposures.list_exposed_users(connection, test_id)
        indexes = range(len(test.design.groups))
        assigned = tuple(users.get(index, 0) for index in indexes)
        return test, [
            SourceExposures(
                source=source, users=tuple(exposed.get(index, 0) for index in indexes), assigned=assigned
            )
            for source, exposed in by_source.items()
        ]
