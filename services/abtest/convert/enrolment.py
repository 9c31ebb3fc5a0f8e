"""Rules of enrolment, holdouts and exclusion groups on the wire."""

from collections.abc import Iterable, Sequence
from typing import Final

from gen.campaigns.abtest.v1 import exclusion_pb2, tests_pb2
from services.abtest.convert.violations import Violations
from services.abtest.domain.enrolment import LARGEST_HOLDOUT_SHARE, EnrolmentRules, Holdout
from services.abtest.operations.enrolment import ExclusionGroup
from services.common.wire import datetime_to_timestamp

LARGEST_LIST: Final = 100
"""The most segments, or holdouts, that a test may name."""


def enrolment_rules_from_proto(
    request: tests_pb2.CreateTestRequest, violations: Violations
) -> EnrolmentRules:
    """Return whom a test is for, noting in `violations` what is wrong."""
    include_segments, exclude_segments = targeting_from_proto(request.targeting, violations)
    _check_names(request.holdout_ids, "holdout_ids", violations)
    has_group, has_share = bool(request.exclusion_group), request.HasField("exclusion_share")
    if has_group:
        violations.check_id(request.exclusion_group, "exclusion_group")
        violations.check(has_share, "exclusion_share", "must be set with exclusion_group", "FIELD_REQUIRED")
    if has_share:
        violations.check(has_group, "exclusion_group", "must be set with exclusion_share", "FIELD_REQUIRED")
        violations.check(
            0.0 < request.exclusion_share <= 1.0,
            "exclusion_share",
            "must be above 0 and at most 1",
            "VALUE_OUT_OF_RANGE",
        )
    return EnrolmentRules(
        include_segments=include_segments,
        exclude_segments=exclude_segments,
        exclusion_group=request.exclusion_group if has_group else None,
        exclusion_share=request.exclusion_share if has_share else None,
        holdout_ids=tuple(sorted(request.holdout_ids)),
    )


def targeting_from_proto(
    message: tests_pb2.Targeting, violations: Violations
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the segments to include and those to exclude, noting in `violations` what is wrong."""
    _check_names(message.include_segments, "targeting.include_segments", violations)
    _check_names(message.exclude_segments, "targeting.exclude_segments", violations)
    violations.check(
        set(message.include_segments).isdisjoint(message.exclude_segments),
        "targeting.exclude_segments",
        "must name none of include_segments",
        "FIELDS_CONFLICT",
    )
    return tuple(sorted(message.include_segments)), tuple(sorted(message.exclude_segments))


def _check_names(names: Sequence[str], field: str, violations: Violations) -> None:
    violations.check(
        len(names) <= LARGEST_LIST, field, f"must have at most {LARGEST_LIST} entries", "VALUE_OUT_OF_RANGE"
    )
    seen: set[str] = set()
    for index, name in enumerate(names[:LARGEST_LIST]):
        violations.check_id(name, f"{field}[{index}]")
        violations.check(name not in seen, f"{field}[{index}]", "stands there twice", "DUPLICATE_ENTRY")
        seen.add(name)


def holdout_from_proto(request: exclusion_pb2.CreateHoldoutRequest) -> tuple[str, float, bool]:
    """Return the name, the share and the reach of a holdout to create."""
    violations = Violations()
    violations.check_id(request.holdout_id, "holdout_id")
    violations.check(
        0.0 < request.share <= LARGEST_HOLDOUT_SHARE,
        "share",
        f"must be above 0 and at most {LARGEST_HOLDOUT_SHARE}",
        "VALUE_OUT_OF_RANGE",
    )
    violations.raise_any()
    return request.holdout_id, request.share, request.is_global


def checked_holdout_id(holdout_id: str) -> str:
    """Return a holdout_id that may exist."""
    violations = Violations()
    violations.check_id(holdout_id, "holdout_id")
    violations.raise_any()
    return holdout_id


def holdout_to_proto(holdout: Holdout) -> exclusion_pb2.Holdout:
    """Return a holdout."""
    return exclusion_pb2.Holdout(
        holdout_id=holdout.holdout_id,
        share=holdout.share,
        is_global=holdout.is_global,
        create_time=datetime_to_timestamp(holdout.created_at),
        end_time=None if holdout.ended_at is None else datetime_to_timestamp(holdout.ended_at),
    )


def exclusion_groups_to_proto(groups: Iterable[ExclusionGroup]) -> exclusion_pb2.ListExclusionGroupsResponse:
    """Return the exclusion groups."""
    return exclusion_pb2.ListExclusionGroupsResponse(
        exclusion_groups=[
            exclusion_pb2.ExclusionGroup(
                exclusion_group=group.exclusion_group,
                free_share=group.free_share,
                tests=[
                    exclusion_pb2.ExclusionGroupTest(
                        test_id=member.test_id, test_name=member.test_name, share=member.share
                    )
                    for member in group.members
                ],
            )
            for group in groups
        ]
    )
