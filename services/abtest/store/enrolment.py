"""Statements of who may enrol: rules, exclusion groups, holdouts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.abtest.domain.enrolment import BucketSpan, Enrolment, EnrolmentRules, Holdout
from services.abtest.domain.model import Group, Status, WeightEpoch
from services.abtest.store.statements import STATEMENTS, Connection, Record


@dataclass(frozen=True, kw_only=True)
class ExclusionMember:
    """A test that holds `spans` of an exclusion group's buckets."""

    exclusion_group: str
    test_id: str
    test_name: str
    share: float
    spans: tuple[BucketSpan, ...]


async def list_enrolments(connection: Connection, test_ids: Sequence[str]) -> dict[str, Enrolment]:
    """Return what decides over new users of those tests that exist."""
    rows = await connection.fetch(STATEMENTS["list_enrolments"].sql, list(test_ids))
    return {row["test_id"]: _enrolment(row) for row in rows}


async def list_user_segments(
    connection: Connection, user_ids: Sequence[str]
) -> Mapping[str, tuple[str, ...]]:
    """Return the segments by now of those users whom the catalog has."""
    rows = await connection.fetch(STATEMENTS["list_user_segments"].sql, list(user_ids))
    return {row["user_id"]: tuple(row["segments"]) for row in rows}


async def lock_exclusion_group(connection: Connection, exclusion_group: str) -> None:
    """Let nobody else take a part of an exclusion group until the transaction is over."""
    await connection.execute(STATEMENTS["lock_exclusion_group"].sql, exclusion_group)


async def list_exclusion_members(
    connection: Connection, exclusion_group: str | None
) -> list[ExclusionMember]:
    """Return the tests that hold a part of an exclusion group, None: of any, ordered by group."""
    rows = await connection.fetch(STATEMENTS["list_exclusion_members"].sql, exclusion_group)
    return [
        ExclusionMember(
            exclusion_group=row["exclusion_group"],
            test_id=row["test_id"],
            test_name=row["test_name"],
            share=row["exclusion_share"],
            spans=_spans(row),
        )
        for row in rows
    ]


async def insert_enrolment_rules(
    connection: Connection, test_id: str, rules: EnrolmentRules, spans: Sequence[BucketSpan]
) -> None:
    """Add whom a test is for, and the buckets that it has in its exclusion group."""
    await connection.execute(
        STATEMENTS["insert_enrolment_rules"].sql,
        test_id,
        rules.include_segments,
        rules.exclude_segments,
        rules.exclusion_group,
        rules.exclusion_share,
        [first for first, _ in spans],
        [end for _, end in spans],
        rules.holdout_ids,
    )


async def upsert_targeting(
    connection: Connection,
    test_id: str,
    *,
    include_segments: Sequence[str],
    exclude_segments: Sequence[str],
) -> None:
    """Set the segments that a test includes and excludes; its other rules stay."""
    await connection.execute(
        STATEMENTS["upsert_targeting"].sql, test_id, list(include_segments), list(exclude_segments)
    )


async def list_enrolment_rules(connection: Connection, test_ids: Sequence[str]) -> dict[str, EnrolmentRules]:
    """Return whom those tests are for that say so."""
    rows = await connection.fetch(STATEMENTS["list_enrolment_rules"].sql, list(test_ids))
    return {
        row["test_id"]: EnrolmentRules(
            include_segments=tuple(row["include_segments"]),
            exclude_segments=tuple(row["exclude_segments"]),
            exclusion_group=row["exclusion_group"],
            exclusion_share=row["exclusion_share"],
            holdout_ids=tuple(row["holdout_ids"]),
        )
        for row in rows
    }


async def insert_holdout(connection: Connection, holdout: Holdout) -> bool:
    """Add a holdout; return False, and change nothing, where there is one of that name."""
    row = await connection.fetchrow(
        STATEMENTS["insert_holdout"].sql,
        holdout.holdout_id,
        holdout.share,
        holdout.is_global,
        holdout.created_at,
    )
    return row is not None


async def end_holdout(connection: Connection, holdout_id: str, ended_at: datetime) -> None:
    """End a holdout unless it has ended."""
    await connection.execute(STATEMENTS["end_holdout"].sql, holdout_id, ended_at)


async def list_holdouts(connection: Connection, holdout_ids: Sequence[str] | None = None) -> list[Holdout]:
    """Return all holdouts, or those of some names that exist, by name."""
    wanted = None if holdout_ids is None else list(holdout_ids)
    rows = await connection.fetch(STATEMENTS["list_holdouts"].sql, wanted)
    return [
        Holdout(
            holdout_id=row["holdout_id"],
            share=row["share"],
            is_global=row["is_global"],
            created_at=row["created_at"],
            ended_at=row["ended_at"],
        )
        for row in rows
    ]


def _enrolment(row: Record) -> Enrolment:
    return Enrolment(
        test_id=row["test_id"],
        groups=tuple(
            Group(name=name, campaign_id=campaign_id)
            for name, campaign_id in zip(row["group_names"], row["campaign_ids"], strict=True)
        ),
        seed=row["hash_seed"],
        epoch=WeightEpoch(number=row["epoch"], weights=tuple(row["weights"]), coverage=row["coverage"]),
        status=Status(row["status"]),
        ends_at=row["ends_at"],
        include_segments=tuple(row["include_segments"]),
        exclude_segments=tuple(row["exclude_segments"]),
        exclusion_group=row["exclusion_group"],
        exclusion_spans=_spans(row),
        holdouts=tuple(zip(row["holdout_ids"], row["shares"], strict=True)),
    )


def _spans(row: Record) -> tuple[BucketSpan, ...]:
    return tuple(zip(row["exclusion_firsts"], row["exclusion_ends"], strict=True))
