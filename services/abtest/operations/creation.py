"""Creating tests: once per request, or not at all."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from services.abtest.domain.bandit import BanditDesign
from services.abtest.domain.changes import (
    ChangeNote,
    DefinedTest,
    Difference,
    compare_with_nothing,
    describe_test,
)
from services.abtest.domain.enrolment import EnrolmentRules
from services.abtest.domain.lifecycle import Action, check_times, start_test
from services.abtest.domain.metrics import REVENUE
from services.abtest.domain.model import ABTest, Status, TestDesign, WeightEpoch
from services.abtest.operations.campaigns import require_campaigns
from services.abtest.operations.enrolment import reserve_enrolment
from services.abtest.operations.lookup import define, require_test
from services.abtest.store import bandits, changes, definitions
from services.common.database import Connection, Database
from services.common.errors import (
    AlreadyExistsError,
    ConstraintViolation,
    FailedPreconditionError,
    FieldViolation,
)


@dataclass(frozen=True, kw_only=True)
class NewTest:
    """A test that is asked for; its design's seed is empty where the test_id shall be the seed.

    `campaign_fields` are the request's fields that name the groups' campaigns, in the groups' order.
    """

    design: TestDesign
    weights: tuple[float, ...]
    coverage: float
    request_id: str | None
    campaign_fields: tuple[str, ...]
    rules: EnrolmentRules
    bandit: BanditDesign | None
    starts_at: datetime | None
    ends_at: datetime | None
    is_draft: bool
    note: ChangeNote


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

    async def create_test(self, wanted: NewTest) -> DefinedTest:
        """Create a test, or return the one that the same request created before, as it is now.

        Raises:
            AlreadyExistsError: the request_id created a test with other content.
            NotFoundError: the catalog lacks a campaign, or there is no such holdout.
            InvalidArgumentError: it would end before it starts, or has ended already.
            FailedPreconditionError: the exclusion group has not enough left, or revenue is to be compared
                between currencies.
        """
        try:
            return await self._find_or_create(wanted)
        except ConstraintViolation as violation:
            if violation.constraint != definitions.REQUEST_ID_CONSTRAINT:
                raise
        # The same request was handled concurrently, and has committed: it is found now.
        return await self._find_or_create(wanted)

    async def _find_or_create(self, wanted: NewTest) -> DefinedTest:
        async with self._database.transaction() as connection:
            return await _fetch_earlier(connection, wanted) or await self._create(connection, wanted)

    async def _create(self, connection: Connection, wanted: NewTest) -> DefinedTest:
        created = _build(wanted, self._new_test_id(), self._now())
        test = created.test
        check_times(test, test.created_at)
        campaign_ids = [group.campaign_id for group in test.design.groups]
        await require_campaigns(connection, dict(zip(wanted.campaign_fields, campaign_ids, strict=True)))
        await _require_one_currency(connection, wanted)
        await definitions.insert_test(connection, test, wanted.request_id)
        await reserve_enrolment(connection, test.test_id, wanted.rules)
        if wanted.bandit is not None:
            await bandits.insert_bandit(connection, test.test_id, wanted.bandit)
        await changes.insert_change(
            connection,
            test.test_id,
            changed_at=test.created_at,
            note=wanted.note,
            action=Action.CREATE,
            differences=_as_asked(created),
        )
        return created


def _build(wanted: NewTest, test_id: str, now: datetime) -> DefinedTest:
    """Return the test that is asked for as it is at its creation."""
    draft = ABTest(
        test_id=test_id,
        design=replace(wanted.design, seed=wanted.design.seed or test_id),
        status=Status.DRAFT,
        epoch=WeightEpoch(number=1, weights=wanted.weights, coverage=wanted.coverage),
        created_at=now,
        ended_at=None,
        starts_at=wanted.starts_at,
        ends_at=wanted.ends_at,
    )
    return DefinedTest(
        test=draft if wanted.is_draft else start_test(draft, now), rules=wanted.rules, bandit=wanted.bandit
    )


def _as_asked(created: DefinedTest) -> tuple[Difference, ...]:
    return compare_with_nothing(describe_test(created))


async def _fetch_earlier(connection: Connection, wanted: NewTest) -> DefinedTest | None:
    """Return the test that this request created; raise where its content was another.

    Of a test that is older than the audit log the content is not kept, and nothing is compared.
    """
    kept = await definitions.fetch_request(connection, wanted.request_id) if wanted.request_id else None
    if kept is None:
        return None
    test_id, content = kept
    test = await require_test(connection, test_id)
    asked = _as_asked(_build(wanted, test_id, test.created_at))
    if content is not None and content != changes.as_kept(asked):
        raise AlreadyExistsError(
            f"request_id: created test {test_id} with other content",
            reason="REQUEST_ID_CONFLICT",
            violations=[FieldViolation(field="request_id", description="was used with other content")],
            metadata={"test_id": test_id},
        )
    return await define(connection, test)


async def _require_one_currency(connection: Connection, wanted: NewTest) -> None:
    """Raise where revenue is to be compared between campaigns of different currencies."""
    if not any(REVENUE in (metric.numerator, metric.denominator) for metric in wanted.design.metrics):
        return
    campaign_ids = [group.campaign_id for group in wanted.design.groups]
    currencies = await definitions.list_currencies(connection, campaign_ids)
    fields = dict(zip(campaign_ids, wanted.campaign_fields, strict=True))
    if len(set(currencies.values())) > 1:
        raise FailedPreconditionError(
            "revenue of campaigns in different currencies cannot be compared: "
            + ", ".join(f"{name} is in {code}" for name, code in sorted(currencies.items())),
            reason="CURRENCY_CONFLICT",
            violations=[
                FieldViolation(field=fields[name], description=f"is in {code}")
                for name, code in sorted(currencies.items())
            ],
        )
