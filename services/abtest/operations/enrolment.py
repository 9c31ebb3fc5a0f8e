"""Who may enrol: a test's rules, exclusion groups, holdouts."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from services.abtest.domain.enrolment import (
    EnrolmentRules,
    Holdout,
    allocate_spans,
    count_buckets,
    free_spans,
)
from services.abtest.domain.hashing import BUCKETS
from services.abtest.store import enrolment
from services.abtest.store.enrolment import ExclusionMember
from services.common.database import Connection, Database
from services.common.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    FieldViolation,
    NotFoundError,
)


@dataclass(frozen=True, kw_only=True)
class ExclusionGroup:
    """A namespace of which each test has its own part; `free_share` is what no test has."""

    exclusion_group: str
    free_share: float
    members: tuple[ExclusionMember, ...]


class EnrolmentOperations:
    """Creates and ends holdouts, and tells what is taken.

    Args:
        database: the service's own.
        now: the clock; aware times.
    """

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def create_holdout(self, *, holdout_id: str, share: float, is_global: bool) -> Holdout:
        """Create a holdout, or return the same one that was created before.

        Who has a group in a test keeps it; from now on the holdout's users get none.

        Raises:
            AlreadyExistsError: there is another one of that name, or it has ended.
        """
        wanted = Holdout(holdout_id=holdout_id, share=share, is_global=is_global, created_at=self._now())
        async with self._database.transaction() as connection:
            await enrolment.insert_holdout(connection, wanted)
            [kept] = await enrolment.list_holdouts(connection, [holdout_id])
        if (kept.share, kept.is_global, kept.ended_at) != (share, is_global, None):
            raise AlreadyExistsError(
                f"holdout_id: {holdout_id!r} was created with another share or reach, or has ended",
                reason="HOLDOUT_CONFLICT",
                violations=[FieldViolation(field="holdout_id", description="is the name of another holdout")],
                metadata={"holdout_id": holdout_id},
            )
        return kept

    async def end_holdout(self, holdout_id: str) -> Holdout:
        """End a holdout for good; its users may be enrolled again. An ended one stays as it ended.

        Raises:
            NotFoundError: there is no such holdout.
        """
        async with self._database.transaction() as connection:
            await enrolment.end_holdout(connection, holdout_id, self._now())
            found = await enrolment.list_holdouts(connection, [holdout_id])
        if not found:
            raise _unknown_holdouts("holdout_id", [holdout_id])
        return found[0]

    async def list_holdouts(self) -> list[Holdout]:
        """Return all holdouts, ended ones too."""
        async with self._database.transaction(readonly=True) as connection:
            return await enrolment.list_holdouts(connection)

    async def list_exclusion_groups(self) -> list[ExclusionGroup]:
        """Return the exclusion groups of which some test has a part."""
        async with self._database.transaction(readonly=True) as connection:
            members = await enrolment.list_exclusion_members(connection, None)
        return [
            _exclusion_group(name, tuple(of_group))
            for name, of_group in groupby(members, key=lambda member: member.exclusion_group)
        ]


async def reserve_enrolment(connection: Connection, test_id: str, rules: EnrolmentRules) -> None:
    """Keep whom a new test is for, and take its part of its exclusion group; in the creation's transaction.

    Raises:
        NotFoundError: there is no such holdout, or it has ended.
        FailedPreconditionError: the exclusion group has not enough left.
    """
    if rules == EnrolmentRules():
        return
    await _require_holdouts(connection, rules.holdout_ids)
    spans: tuple[tuple[int, int], ...] = ()
    if rules.exclusion_group is not None and rules.exclusion_share is not None:
        await enrolment.lock_exclusion_group(connection, rules.exclusion_group)
        members = await enrolment.list_exclusion_members(connection, rules.exclusion_group)
        taken = [span for member in members for span in member.spans]
        allocated = allocate_spans(taken, rules.exclusion_share)
        if allocated is None:
            raise _full_group(rules.exclusion_group, count_buckets(free_spans(taken)) / BUCKETS)
        spans = allocated
    await enrolment.insert_enrolment_rules(connection, test_id, rules, spans)


async def fetch_enrolment_rules(connection: Connection, test_id: str) -> EnrolmentRules:
    """Return whom a test is for; everybody where nothing was said."""
    found = await enrolment.list_enrolment_rules(connection, [test_id])
    return found.get(test_id, EnrolmentRules())


async def _require_holdouts(connection: Connection, holdout_ids: tuple[str, ...]) -> None:
    if not holdout_ids:
        return
    lasting = {
        holdout.holdout_id
        for holdout in await enrolment.list_holdouts(connection, holdout_ids)
        if holdout.ended_at is None
    }
    unknown = [holdout_id for holdout_id in holdout_ids if holdout_id not in lasting]
    if unknown:
        raise _unknown_holdouts("holdout_ids", unknown)


def _unknown_holdouts(field: str, holdout_ids: list[str]) -> NotFoundError:
    names = ", ".join(repr(holdout_id) for holdout_id in holdout_ids)
    return NotFoundError(
        f"{field}: no lasting holdout {names}",
        reason="HOLDOUT_UNKNOWN",
        violations=[FieldViolation(field=field, description=f"no lasting holdout {names}")],
    )


def _full_group(exclusion_group: str, free_share: float) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"exclusion_share: the exclusion group {exclusion_group!r} has {free_share:.2%} of its users left;"
        " take less, or end a test of the group",
        reason="EXCLUSION_GROUP_FULL",
        violations=[FieldViolation(field="exclusion_share", description=f"at most {free_share:g} is left")],
        metadata={"exclusion_group": exclusion_group, "free_share": repr(free_share)},
    )


def _exclusion_group(name: str, members: tuple[ExclusionMember, ...]) -> ExclusionGroup:
    free = free_spans([span for member in members for span in member.spans])
    return ExclusionGroup(exclusion_group=name, free_share=count_buckets(free) / BUCKETS, members=members)
