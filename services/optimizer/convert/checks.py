"""Checks of what requests have in common, each by its field path."""

from datetime import date
from typing import Final

from services.common.errors import invalid_field
from services.common.wire import parse_date

LONGEST_ID: Final = 128
LONGEST_COMMENT: Final = 500


def required_id(text: str, field: str) -> str:
    """Return what names a campaign, a user or a recommendation: 1 to 128 characters, no NUL."""
    if not text:
        raise invalid_field(field, "is required", "FIELD_REQUIRED")
    return optional_text(text, field, longest=LONGEST_ID)


def optional_text(text: str, field: str, *, longest: int) -> str:
    """Return a text of at most `longest` characters, without NUL; it may be empty."""
    if len(text) > longest or "\0" in text:
        raise invalid_field(field, f"must have at most {longest} characters and no NUL", "TEXT_INVALID")
    return text


def optional_date(text: str, field: str) -> date | None:
    """Return the calendar date of a text, None for the empty one."""
    return parse_date(text, field) if text else None
