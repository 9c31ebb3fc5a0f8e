import grpc
import pytest
from google.rpc import error_details_pb2

from services.common import errors
from services.common.errors import DomainError, FieldViolation, invalid_field, invalid_fields
from services.common.interceptors import to_status


def every_error_class() -> list[type[DomainError]]:
    found: list[type[DomainError]] = []
    todo: list[type[DomainError]] = [DomainError]
    while todo:
        current = todo.pop()
        found.append(current)
        todo.extend(current.__subclasses__())
    return found


@pytest.mark.parametrize("error_class", every_error_class(), ids=lambda c: c.__name__)
def test_every_error_class_maps_to_a_status_with_its_reason_and_fields(
    error_class: type[DomainError],
) -> None:
    error = error_class(
        "why",
        reason="A_REASON",
        violations=[FieldViolation(field="a.b", description="be good")],
        metadata={"limit": "3"},
    )

    status = to_status(error, "a.v1.Service")

    assert status.code == grpc.StatusCode[error_class.code].value[0]
    assert status.message == "why"
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == ("A_REASON", "a.v1.Service", {"limit": "3"})
    request = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(request)
    violation = request.field_violations[0]
    assert (violation.field, violation.description, violation.reason) == ("a.b", "be good", "A_REASON")


def test_the_codes_are_all_different() -> None:
    codes = [error_class.code for error_class in every_error_class()]
    assert len(codes) == len(set(codes))


def test_an_error_without_fields_has_no_bad_request() -> None:
    status = to_status(errors.NotFoundError("no such campaign", reason="CAMPAIGN_NOT_FOUND"), "a.v1.Service")
    assert [detail.TypeName() for detail in status.details] == ["google.rpc.ErrorInfo"]


def test_a_single_wrong_field_is_named_in_the_message() -> None:
    error = invalid_field("events[3].revenue", "must be finite", "MONEY_NOT_FINITE")
    assert error.message == "events[3].revenue: must be finite"
    assert error.reason == "MONEY_NOT_FINITE"
    assert error.violations[0].reason == "MONEY_NOT_FINITE"


def test_several_wrong_fields_are_all_named() -> None:
    error = invalid_fields(
        [FieldViolation(field="a", description="x", reason="R"), FieldViolation(field="b", description="y")]
    )
    assert error.message == "a: x; b: y"
    assert error.reason == "INVALID_FIELD"
    assert [violation.field for violation in error.violations] == ["a", "b"]


def test_one_field_of_several_keeps_its_own_reason() -> None:
    error = invalid_fields([FieldViolation(field="a", description="x", reason="R")])
    assert (error.message, error.reason) == ("a: x", "R")
