"""Changes of tests, and the audit log, on the wire."""

import json
from typing import Final

from gen.campaigns.abtest.v1 import audit_pb2, results_pb2, tests_pb2
from services.abtest.convert.enrolment import targeting_from_proto
from services.abtest.convert.shares import check_coverage, check_target, check_weights
from services.abtest.convert.violations import (
    LONGEST_COMMENT,
    LONGEST_HYPOTHESIS,
    LONGEST_ID,
    LONGEST_NAME,
    Violations,
)
from services.abtest.domain.changes import Change, ChangeNote, Difference, Value
from services.abtest.operations.changes import WantedChange
from services.common.paging import decode_own_token, encode_page_token, page_size, unusable_token
from services.common.wire import datetime_to_timestamp, timestamp_to_datetime

_LARGEST_NUMBER: Final = 2**31 - 1
LONGEST_DURATION_DAYS: Final = 366
NotedRequest = (
    results_pb2.EndTestRequest
    | tests_pb2.ArchiveTestRequest
    | tests_pb2.PauseTestRequest
    | tests_pb2.ResumeTestRequest
    | tests_pb2.StartTestRequest
    | tests_pb2.UpdateTestRequest
)
"""Requests that name a test, and say who asks and why."""


def noted_from_proto(request: NotedRequest) -> tuple[str, ChangeNote]:
    """Return the test_id, and who asks and why."""
    violations = Violations()
    violations.check_id(request.test_id, "test_id")
    note = _note(request, violations)
    violations.raise_any()
    return request.test_id, note


def _note(request: NotedRequest, violations: Violations) -> ChangeNote:
    violations.check_text(request.actor, "actor", longest=LONGEST_ID, required=False)
    violations.check_text(request.comment, "comment", longest=LONGEST_COMMENT, required=False)
    return ChangeNote(actor=request.actor, comment=request.comment)


def change_from_proto(request: tests_pb2.UpdateTestRequest) -> WantedChange:
    """Return what is to change.

    Raises:
        InvalidArgumentError: naming every field that is wrong.
    """
    violations = Violations()
    _check_change(request, violations)
    targeting = targeting_from_proto(request.targeting, violations) if request.HasField("targeting") else None
    violations.raise_any()
    return WantedChange(
        test_name=request.test_name if request.HasField("test_name") else None,
        hypothesis=request.hypothesis if request.HasField("hypothesis") else None,
        weights=tuple(request.traffic_weights) or None,
        coverage=request.coverage if request.HasField("coverage") else None,
        targeting=targeting,
        starts_at=timestamp_to_datetime(request.start_time, "start_time")
        if request.HasField("start_time")
        else None,
        ends_at=timestamp_to_datetime(request.end_time, "end_time") if request.HasField("end_time") else None,
        clear_ends_at=request.clear_end_time,
        planned_duration_days=request.planned_duration_days
        if request.HasField("planned_duration_days")
        else None,
        target_sample_size=request.target_sample_size if request.HasField("target_sample_size") else None,
        minimum_detectable_effect=request.minimum_detectable_effect
        if request.HasField("minimum_detectable_effect")
        else None,
        confidence_level=request.confidence_level if request.HasField("confidence_level") else None,
    )


def _check_change(request: tests_pb2.UpdateTestRequest, violations: Violations) -> None:
    if request.HasField("test_name"):
        violations.check_text(request.test_name, "test_name", longest=LONGEST_NAME)
    violations.check_text(request.hypothesis, "hypothesis", longest=LONGEST_HYPOTHESIS, required=False)
    if request.traffic_weights:
        check_weights(request.traffic_weights, None, violations)
    if request.HasField("coverage"):
        check_coverage(request.coverage, violations)
    if request.HasField("target_sample_size"):
        check_target(request.target_sample_size, violations)
    if request.HasField("minimum_detectable_effect"):
        violations.check_effect(request.minimum_detectable_effect)
    if request.HasField("confidence_level"):
        violations.check_confidence_level(request.confidence_level)
    if request.HasField("planned_duration_days"):
        check_duration(request.planned_duration_days, violations)
    violations.check(
        not (request.clear_end_time and request.HasField("end_time")),
        "clear_end_time",
        "excludes end_time",
        "FIELDS_CONFLICT",
    )


def check_duration(days: int, violations: Violations) -> None:
    """Check the days that a test is planned to run."""
    violations.check(
        1 <= days <= LONGEST_DURATION_DAYS,
        "planned_duration_days",
        f"must lie between 1 and {LONGEST_DURATION_DAYS}",
        "VALUE_OUT_OF_RANGE",
    )


def log_page_from_proto(request: audit_pb2.ListTestChangesRequest) -> tuple[str, int | None, int]:
    """Return the test_id, the change that a page starts before (None: the newest), and its size."""
    violations = Violations()
    violations.check_id(request.test_id, "test_id")
    violations.raise_any()
    cursor = decode_own_token(request.page_token, keys=["before"], filters={"test_id": request.test_id})
    before = cursor.get("before")
    if cursor and not (isinstance(before, int) and 0 < before <= _LARGEST_NUMBER):
        raise unusable_token()
    return request.test_id, before if isinstance(before, int) else None, page_size(request.page_size)


def log_page_to_proto(
    test_id: str, changes: list[Change], next_before: int | None
) -> audit_pb2.ListTestChangesResponse:
    """Return a page of the audit log."""
    token = "" if next_before is None else encode_page_token({"test_id": test_id, "before": next_before})
    return audit_pb2.ListTestChangesResponse(
        changes=[_change_to_proto(test_id, change) for change in changes], next_page_token=token
    )


def _change_to_proto(test_id: str, change: Change) -> audit_pb2.TestChange:
    return audit_pb2.TestChange(
        test_id=test_id,
        change_number=change.number,
        change_time=datetime_to_timestamp(change.changed_at),
        actor=change.note.actor,
        action=change.action,
        comment=change.note.comment,
        differences=[_difference_to_proto(difference) for difference in change.differences],
    )


def _difference_to_proto(difference: Difference) -> audit_pb2.FieldDifference:
    return audit_pb2.FieldDifference(
        field=difference.field, before=_json(difference.before), after=_json(difference.after)
    )


def _json(value: Value) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)
