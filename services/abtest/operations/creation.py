"""Creating tests: once per request, or not at all."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from services.abtest.domain.model import ABTest, Status, TestDesign, WeightEpoch
from services.abtest.operations.lookup import require_test
from services.abtest.store import definitions
from services.common.database import Connection, Database
from services.common.errors import (
    AlreadyExistsError,
    ConstraintViolation,
    FieldViolation,
    NotFoundError,
)


@dataclass(frozen=True, kw_only=True)
class NewTest:
    """A test that is asked for; its design's seed is empty where the test_id shall be the seed."""

    design: TestDesign
    weights: tuple[float, ...]
    coverage: float
    request_id: str | None


class CreationOperations:
    """Creates tests.

    Args:
        database: the service's own.
        now: the clock; aware times.
        new_test_id: makes a test_id that no test has.
    """

    def __init__(
        self, database: Database, *, now: Callable[[], datetime], new_test_id: Callable[[], str]
    ) -> None:
        self._database = database
        self._now = now
        self._new_test_id = new_test_id

    async def create_test(self, wanted: NewTest) -> ABTest:
        """Create a running test, or return the one that the same request created before.

        Raises:
            AlreadyExistsError: the request_id created a test with other content.
            NotFoundError: the catalog lacks a campaign.
        """
        try:
            async with self._database.transaction() as connection:
                earlier = await _fetch_earlier(connection, wanted)
                if earlier is not None:
                    return earlier
                await _require_campaigns(connection, wanted.design)
                test = self._build_test(wanted)
                await definitions.insert_test(connection, test, wanted.request_id)
                return test
        except ConstraintViolation as violation:
            if violation.constraint != definitions.REQUEST_ID_CONSTRAINT:
                raise
        # The same request was handled concurrently, and has committed.
        async with self._database.transaction(readonly=True) as connection:
            earlier = await _fetch_earlier(connection, wanted)
        if earlier is None:
            raise NotFoundError("the test of this request is gone", reason="TEST_UNKNOWN")
        return earlier

    def _build_test(self, wanted: NewTest) -> ABTest:
        test_id = self._new_test_id()
        return ABTest(
            test_id=test_id,
            design=replace(wanted.design, seed=wanted.design.seed or test_id),
            status=Status.RUNNING,
            epoch=WeightEpoch(number=1, weights=wanted.weights, coverage=wanted.coverage),
            created_at=self._now(),
            ended_at=None,
        )


async def _fetch_earlier(connection: Connection, wanted: NewTest) -> ABTest | None:
    """Return the test that this request created; raise where its content was another."""
    earlier = await definitions.fetch_request(connection, wanted.request_id) if wanted.request_id else None
    if earlier is None:
        return None
    test_id, epoch = earlier
    test = await require_test(connection, test_id)
    design = replace(wanted.design, seed=wanted.design.seed or test_id)
    if test.design != design or (epoch.weights, epoch.coverage) != (wanted.weights, wanted.coverage):
        raise AlreadyExistsError(
            f"request_id: created test {test_id} with other content",
            reason="REQUEST_ID_CONFLICT",
            violations=[FieldViolation(field="request_id", description="was used with other content")],
            metadata={"test_id": test_id},
        )
    return test


async def _require_campaigns(connection: Connection, design: TestDesign) -> None:
    known = await definitions.list_known_campaigns(connection, [group.campaign_id for group in design.groups])
    unknown = [
        FieldViolation(field=f"{group.name}_campaign_id", description=f"no campaign {group.campaign_id!r}")
        for group in design.groups
        if group.campaign_id not in known
    ]
    if unknown:
        raise NotFoundError(
            "; ".join(f"{violation.field}: {violation.description}" for violation in unknown),
            reason="CAMPAIGN_UNKNOWN",
            violations=unknown,
        )
