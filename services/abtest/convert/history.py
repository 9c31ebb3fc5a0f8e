"""Tests of the past and present, on the wire."""

from datetime import UTC, datetime
from typing import Final

from gen.campaigns.abtest.v1 import history_pb2, results_pb2
from services.abtest.convert.analysis import result_fields
from services.abtest.domain.analysis import Analysis
from services.abtest.domain.model import ABTest
from services.abtest.operations.history import HistoryPage
from services.common.errors import DomainError, invalid_field
from services.common.paging import decode_page_token, encode_page_token
from services.common.wire import datetime_to_timestamp

DEFAULT_HISTORY_LIMIT: Final = 10
_LARGEST_HISTORY_LIMIT = 1000


def history_limit_from_proto(request: history_pb2.ListTestHistoryRequest) -> int:
    """Return how many tests a page has."""
    limit = request.limit if request.HasField("limit") else DEFAULT_HISTORY_LIMIT
    if not 1 <= limit <= _LARGEST_HISTORY_LIMIT:
        raise invalid_field("limit", f"must lie between 1 and {_LARGEST_HISTORY_LIMIT}", "VALUE_OUT_OF_RANGE")
    return limit


def history_start_from_proto(request: history_pb2.ListTestHistoryRequest) -> tuple[datetime, str] | None:
    """Return after which test a page starts, None for the first."""
    cursor = decode_page_token(request.page_token)
    if not cursor:
        return None
    try:
        created_at = datetime.fromisoformat(str(cursor["created_at"]))
        test_id = str(cursor["test_id"])
        if created_at.tzinfo is None or "\0" in test_id:
            raise ValueError("not of this list")
        return created_at.astimezone(UTC), test_id
    except (KeyError, ValueError, OverflowError) as error:
        raise _foreign_token() from error


def _foreign_token() -> DomainError:
    return invalid_field("page_token", "is not a token of an earlier page of this list", "PAGE_TOKEN_INVALID")


def history_to_proto(page: HistoryPage) -> history_pb2.ListTestHistoryResponse:
    """Return a page of tests."""
    token = ""
    if page.next_before is not None:
        created_at, test_id = page.next_before
        token = encode_page_token({"created_at": created_at.isoformat(), "test_id": test_id})
    return history_pb2.ListTestHistoryResponse(
        tests=[_summary_to_proto(test, result) for test, result in page.tests], next_page_token=token
    )


def _summary_to_proto(test: ABTest, result: Analysis | None) -> history_pb2.TestSummary:
    return history_pb2.TestSummary(
        test_id=test.test_id,
        test_name=test.design.test_name,
        is_active=test.is_active,
        start_time=datetime_to_timestamp(test.created_at),
        end_time=datetime_to_timestamp(test.ended_at) if test.ended_at else None,
        result=results_pb2.TestResult(**result_fields(test, result)) if result else None,
    )
