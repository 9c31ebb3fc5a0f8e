"""Tests side by side on the wire."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from gen.campaigns.abtest.v1 import overlaps_pb2 as pb
from services.abtest.convert.comparisons import interval_to_proto
from services.abtest.convert.violations import Violations
from services.abtest.domain.analysis import Analysis
from services.abtest.domain.overlaps import Overlap
from services.abtest.operations.overlaps import ComparedTest, OverlapView
from services.common.wire import datetime_to_timestamp

DEFAULT_LIMIT: Final = 20
_FEWEST, _MOST = 2, 50


def overlap_limit_from_proto(request: pb.ListOverlappingTestsRequest) -> int:
    """Return how many tests to compare, of a request that names a campaign or a test."""
    limit = request.limit if request.HasField("limit") else DEFAULT_LIMIT
    violations = Violations()
    violations.check(
        bool(request.campaign_id) != bool(request.test_id),
        "test_id" if request.campaign_id else "campaign_id",
        "name a campaign or a test, one of them",
        "FIELD_REQUIRED" if not request.campaign_id else "INVALID_FIELD",
    )
    violations.check_text(request.campaign_id, "campaign_id", longest=128, required=False)
    violations.check_text(request.test_id, "test_id", longest=128, required=False)
    violations.check(
        _FEWEST <= limit <= _MOST, "limit", f"must lie between {_FEWEST} and {_MOST}", "VALUE_OUT_OF_RANGE"
    )
    violations.raise_any()
    return limit


def overlaps_to_proto(view: OverlapView) -> pb.ListOverlappingTestsResponse:
    """Return tests and what they share."""
    groups = {each.test.test_id: [group.name for group in each.test.design.groups] for each in view.tests}
    return pb.ListOverlappingTestsResponse(
        tests=[_test_to_proto(each) for each in view.tests],
        overlaps=[_overlap_to_proto(each, groups) for each in view.overlaps],
        more=view.more,
    )


def _test_to_proto(compared: ComparedTest) -> pb.ComparedTest:
    test, result = compared.test, compared.result
    message = pb.ComparedTest(
        test_id=test.test_id,
        test_name=test.design.test_name,
        status=test.status.label,
        start_time=_time(test.started_at),
        end_time=_time(test.ended_at),
        decision_method=test.design.decision_method.label,
        groups=_groups_to_proto(compared),
        primary_metric=test.design.primary_metric.name,
    )
    if result is not None:
        decision = result.analysis.decision
        message.verdict = decision.verdict.name.lower()
        if decision.winner is not None:
            message.winner = decision.winner
    return message


def _groups_to_proto(compared: ComparedTest) -> Iterator[pb.ComparedGroup]:
    result = compared.result
    for index, (group, users) in enumerate(zip(compared.test.design.groups, compared.users, strict=True)):
        message = pb.ComparedGroup(group=group.name, campaign_id=group.campaign_id, users=users)
        if result is not None:
            message.MergeFrom(_result_to_proto(result.analysis, index))
        yield message


def _result_to_proto(result: Analysis, index: int) -> pb.ComparedGroup:
    group = result.groups[index]
    message = pb.ComparedGroup(
        conversions=group.counts.conversions,
        conversion_rate=group.counts.conversion_rate,
        conversion_rate_interval=interval_to_proto(group.conversion_rate_interval),
    )
    if index:
        comparison = result.primary.comparisons[index - 1]
        message.MergeFrom(
            pb.ComparedGroup(
                relative_lift=comparison.relative_lift,
                relative_lift_interval=interval_to_proto(comparison.relative_lift_interval),
            )
        )
    return message


def _overlap_to_proto(overlap: Overlap, groups: dict[str, list[str]]) -> pb.TestOverlap:
    independence = overlap.independence
    first, second = groups[overlap.first.test_id], groups[overlap.second.test_id]
    return pb.TestOverlap(
        first_test_id=overlap.first.test_id,
        second_test_id=overlap.second.test_id,
        shared_campaign_ids=overlap.shared_campaign_ids,
        start_time=_time(overlap.start),
        end_time=_time(overlap.end),
        shared_users=overlap.shared_users,
        share_of_first=overlap.share_of_first,
        share_of_second=overlap.share_of_second,
        cells=[
            pb.SharedGroupUsers(first_group=first[row], second_group=second[column], users=users)
            for (row, column), users in sorted(overlap.cells.items())
        ],
        independence_p_value=independence.p_value if independence else None,
        association=independence.association if independence else None,
        warnings=overlap.warnings,
    )


def _time(moment: datetime | None) -> Timestamp | None:
    return None if moment is None else datetime_to_timestamp(moment)
