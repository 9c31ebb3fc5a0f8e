"""Tests of the past and present, on the wire."""

from datetime import UTC, datetime
from typing import Final

from gen.campaigns.abtest.v1 import history_pb2, results_pb2
from services.abtest.convert.analysis import result_fields
from services.abtest.convert.definition import optional_time, start_time
from services.abtest.convert.violations import LONGEST_ID, LONGEST_NAME, Violations
from services.abtest.domain.analysis import KeptAnalysis
from services.abtest.domain.history import NOT_ARCHIVED, HistoryFilters
from services.abtest.domain.model import ABTest, DecisionMethod, Status
from services.abtest.domain.verdicts import Verdict
from services.abtest.operations.history import HistoryPage
from services.common.paging import decode_own_token, encode_page_token, unusable_token
from services.common.wire import datetime_to_timestamp, timestamp_to_datetime

DEFAULT_HISTORY_LIMIT: Final = 10
_LARGEST_HISTORY_LIMIT = 1000
_STATUSES: Final = {status.label: status for status in Status}
_METHODS: Final = {method.label: method for method in DecisionMethod}
_VERDICTS: Final = {verdict.name.lower(): verdict for verdict in Verdict if verdict is not Verdict.CONTINUE}


def history_limit_from_proto(request: history_pb2.ListTestHistoryRequest) -> int:
    """Return how many tests a page has."""
    limit = request.limit if request.HasField("limit") else DEFAULT_HISTORY_LIMIT
    violations = Violations()
    violations.check(
        1 <= limit <= _LARGEST_HISTORY_LIMIT,
        "limit",
        f"must lie between 1 and {_LARGEST_HISTORY_LIMIT}",
        "VALUE_OUT_OF_RANGE",
    )
    violations.raise_any()
    return limit


def history_filters_from_proto(request: history_pb2.ListTestHistoryRequest) -> HistoryFilters:
    """Return which tests are asked for.

    Raises:
        InvalidArgumentError: naming every field that is wrong.
    """
    violations = Violations()
    for index, name in enumerate(request.statuses):
        violations.check(
            name in _STATUSES, f"statuses[{index}]", f"must be one of {', '.join(_STATUSES)}", "VALUE_UNKNOWN"
        )
    for field, name, known in (
        ("decision_method", request.decision_method, tuple(_METHODS)),
        ("verdict", request.verdict, tuple(_VERDICTS)),
    ):
        violations.check(
            not name or name in known, field, f"must be one of {', '.join(known)}", "VALUE_UNKNOWN"
        )
    violations.check_text(request.campaign_id, "campaign_id", longest=LONGEST_ID, required=False)
    violations.check_text(request.name_contains, "name_contains", longest=LONGEST_NAME, required=False)
    created_from = (
        timestamp_to_datetime(request.created_from, "created_from")
        if request.HasField("created_from")
        else None
    )
    created_until = (
        timestamp_to_datetime(request.created_until, "created_until")
        if request.HasField("created_until")
        else None
    )
    violations.check(
        created_from is None or created_until is None or created_from < created_until,
        "created_until",
        "must be later than created_from",
        "RANGE_REVERSED",
    )
    violations.raise_any()
    return HistoryFilters(
        statuses=tuple(sorted({_STATUSES[name] for name in request.statuses})) or NOT_ARCHIVED,
        campaign_id=request.campaign_id or None,
        decision_method=_METHODS.get(request.decision_method),
        verdict=_VERDICTS.get(request.verdict),
        created_from=created_from,
        created_until=created_until,
        name_contains=request.name_contains or None,
    )


def history_start_from_proto(
    request: history_pb2.ListTestHistoryRequest, filters: HistoryFilters
) -> tuple[datetime, str] | None:
    """Return after which test a page starts, None for the first; a token of other filters is refused."""
    cursor = decode_own_token(request.page_token, keys=["created_at", "test_id"], filters=_told(filters))
    if not cursor:
        return None
    try:
        created_at = datetime.fromisoformat(str(cursor["created_at"]))
        test_id = str(cursor["test_id"])
        if created_at.tzinfo is None or "\0" in test_id:
            raise ValueError("not of this list")
        return created_at.astimezone(UTC), test_id
    except (ValueError, OverflowError) as error:
        raise unusable_token() from error


def _told(filters: HistoryFilters) -> dict[str, str]:
    """Return the filters as a page token tells them."""
    return {"filters": repr(filters)} if filters != HistoryFilters() else {}


def history_to_proto(page: HistoryPage, filters: HistoryFilters) -> history_pb2.ListTestHistoryResponse:
    """Return a page of tests."""
    token = ""
    if page.next_before is not None:
        created_at, test_id = page.next_before
        token = encode_page_token(
            {"created_at": created_at.isoformat(), "test_id": test_id, **_told(filters)}
        )
    return history_pb2.ListTestHistoryResponse(
        tests=[_summary_to_proto(test, result) for test, result in page.tests], next_page_token=token
    )


def _summary_to_proto(test: ABTest, result: KeptAnalysis | None) -> history_pb2.TestSummary:
    return history_pb2.TestSummary(
        test_id=test.test_id,
        test_name=test.design.test_name,
        is_active=test.is_active,
        start_time=start_time(test),
        end_time=optional_time(test.ended_at),
        result=results_pb2.TestResult(**result_fields(test, result)) if result else None,
        status=test.status.label,
        campaign_ids=[group.campaign_id for group in test.design.groups],
        decision_method=test.design.decision_method.label,
        create_time=datetime_to_timestamp(test.created_at),
    )
